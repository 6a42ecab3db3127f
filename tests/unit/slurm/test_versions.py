"""The same questions to three versions of Slurm: real answers, read alike.

`answers/` holds what each version printed in the sandbox: a line `$ command`, its output, `rc N`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.process import Result
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import Phase
from ansible_collections.mnrun.train.plugins.module_utils.slurm import capacity, parse
from ansible_collections.mnrun.train.plugins.module_utils.slurm.client import SlurmClient
from ansible_collections.mnrun.train.plugins.module_utils.slurm.refusal import explain

from tests.helpers.fake_slurm import FakeClock

ANSWERS = Path(__file__).parent / "answers"
QUEUE = f"squeue --me -t all -o {parse.queue_format('|')}"
HISTORY = f"sacct -X -P -o {parse.HISTORY_FIELDS} -S now-1hour"


class Slurm:
    """One version, at the process boundary. A question that it was not asked raises, but for those
    of a refusal's second half: what exists instead."""

    def __init__(self, version: str) -> None:
        self.version = version
        text = (ANSWERS / f"{version}.txt").read_text(encoding="utf-8")
        parts = re.findall(r"^\$ (.*)\n((?:.*\n)*?)rc (\d+)$", text, re.MULTILINE)
        self.answers: list[tuple[str, str, int]] = [
            (one, out, int(code)) for one, out, code in parts
        ]

    def __call__(self, command: list[str], limit: float, stdin: str) -> Result:
        if command[0] == "sinfo" and "%R" not in command[-1]:
            return Result(1, "", "not asked")
        out, code = self.told(" ".join(command))
        return Result(code, out, "")

    def told(self, start: str) -> tuple[str, int]:
        """The first answer to a command that begins so."""
        return next((out, code) for asked, out, code in self.answers if asked.startswith(start))

    def shown(self, name: str) -> str:
        """The last line of `scontrol show job` about the job of that name."""
        texts = [out for asked, out, _ in self.answers if asked.startswith("scontrol show job")]
        return next(out for out in reversed(texts) if f" JobName={name} " in out)


@pytest.fixture(params=["22.05", "24.11", "26.05"])
def slurm(request: pytest.FixtureRequest) -> Slurm:
    return Slurm(str(request.param))


@pytest.fixture
def client(slurm: Slurm) -> SlurmClient:
    return SlurmClient(slurm, FakeClock())


# What 22.05 calls a job whose batch shell a signal ended, and newer ones.
KILLED = {"22.05": "JobLaunchFailure"}


def test_the_queue(slurm: Slurm) -> None:
    rows = parse.parse_queue(slurm.told(QUEUE)[0])
    assert rows is not None
    told = {row.name: (row.phase, row.reason, row.nodes[:7], row.comment) for row in rows}
    killed = KILLED.get(slurm.version, "RaisedSignal:9(Killed)")
    comment = "mnrun run=/home/mluser/a b token=1"
    assert told == {
        "p-ok": (Phase.SUCCEEDED, "", "osk-gpu", comment),
        "p-bad": (Phase.FAILED, "NonZeroExitCode", "osk-gpu", "(null)"),
        "p-run": (Phase.CANCELLED, "", "osk-gpu", "(null)"),
        "p-pend": (Phase.QUEUED, "BeginTime", "", "(null)"),
        "p-held": (Phase.QUEUED, "JobHeldUser", "", "(null)"),
        "p-kill": (Phase.FAILED, killed, "osk-gpu", "(null)"),
        "p-time": (Phase.RUNNING, "", "osk-gpu", "(null)"),
    }
    assert {row.name for row in rows if row.start is None} == {"p-held"}


@pytest.mark.parametrize(
    ("name", "state", "code", "nodes"),
    [
        ("p-ok", "COMPLETED", 0, "osk-gpu[94-95]"),
        ("p-bad", "FAILED", 3, "osk-gpu94"),
        ("p-run", "CANCELLED", 143, "osk-gpu94"),
        ("p-pend", "PENDING", 0, ""),
        ("p-kill", "FAILED", 137, ""),
        ("p-time", "TIMEOUT", 143, ""),
    ],
)
def test_what_slurmctld_remembers(
    slurm: Slurm, name: str, state: str, code: int, nodes: str
) -> None:
    row = parse.parse_shown(slurm.shown(name))
    assert row is not None
    assert (row.name, row.state, row.exit_code) == (name, state, code)
    assert nodes in row.nodes
    assert None not in (row.submit, row.start, row.end)


def test_the_line_of_submission_cannot_pass_for_a_field(slurm: Slurm) -> None:
    """26.05 shows it, with all that its user wrote, before other fields."""
    hostile = "x JobState=RUNNING NodeList=evil ExitCode=0:0 EndTime=1"
    line = slurm.shown("p-bad").replace("exit 3", hostile)
    assert (hostile in line) == (slurm.version == "26.05")
    assert parse.parse_shown(line) == parse.parse_shown(slurm.shown("p-bad"))


def test_the_accounting(slurm: Slurm) -> None:
    rows = parse.parse_history(slurm.told(HISTORY)[0])
    assert rows is not None
    told = {row.name: (row.state, row.reason, row.exit_code) for row in rows}
    assert told == {
        "p-ok": ("COMPLETED", "", 0),
        "p-bad": ("FAILED", "", 3),
        "p-run": ("CANCELLED", "by 2000", 0),
        "p-kill": ("FAILED", "", 137),
        "p-time": ("TIMEOUT", "", 0),
    }
    assert {row.work_dir for row in rows} == {"/tmp"}
    assert rows[0].comment == "mnrun run=/home/mluser/a b token=1"


def test_a_job_that_is_not_known(client: SlurmClient) -> None:
    assert client.show("9999").rows == []
    assert client.cancel("9999", "", "") == ""
    assert "Invalid job id specified" in client.cancel("9999", "", "USR1")


def test_what_the_cluster_has(client: SlurmClient) -> None:
    found = capacity.survey(client)
    limits = {name: (p.default, p.state, p.max_time, p.max_nodes) for name, p in found.items()}
    assert limits == {
        "gpu": (True, "UP", 604800.0, float("inf")),
        "debug": (False, "UP", 1800.0, float("inf")),
    }
    assert [(n.name, n.cpus, n.memory, n.gpus) for n in found["gpu"].nodes] == [
        ("osk-gpu94", 64, 2000000, {"": 8}),
        ("osk-gpu95", 64, 2000000, {"": 8}),
    ]


NEAREST = "Requested node configuration is not available"


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--partition=nowhere", "Invalid partition name specified"),
        ("--nodelist=nowhere", "Invalid node name specified"),
        ("--gpus-per-node=9", NEAREST),
        ("--mem=99T", NEAREST),
        ("--nodes=9", NEAREST),
        ("--constraint=x", "Invalid feature specification"),
        ("--gres=tpu:1", "Invalid generic resource (gres) specification"),
        ("--time=abc", "Invalid --time specification"),
        ("--nodes=abc", '"abc" is not a valid node count'),
        ("--bogus", "unrecognized option '--bogus'"),
    ],
)
def test_a_refusal(slurm: Slurm, client: SlurmClient, option: str, words: str) -> None:
    out, code = slurm.told(f"sbatch --test-only {option} ")
    assert code != 0
    name, _equals, value = option[2:].partition("=")
    message = explain(out, {name: value}, client)
    assert message.startswith("Slurm refuses the job, and nothing was submitted: ")
    assert words in message
    if re.match("--(part|gpus)", option):
        assert f"Requested: {option}" in message
