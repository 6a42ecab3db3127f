"""slurm_job on a real Slurm: submitted once, followed, found again, ended."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.slurm.options import of_help

from .conftest import Cluster
from .plays import play, result

pytestmark = [pytest.mark.sandbox, pytest.mark.slurm]

PLAY = Path(__file__).parent / "files" / "slurm_job.yml"
HOSTILE = 'it\'s; echo 100%j "x" $HOME |'
SHELL = "#!/bin/bash\n"
DIRECTIVES = "#SBATCH --nodes=2\n#SBATCH --gpus-per-node=1\n#SBATCH --time=5\n"
TRAINS = """\
for step in 1 2 3 4 5 6; do
  echo "step:$step - train/loss:$((9 - step)).5 - train/lr(1e-3):1"
  sleep 1
done
srun --ntasks=2 hostname
env | sort > "$MNRUN_RECORD/seen-env"
"""
RAISES = """\
echo "step:1 - train/loss:9.5 - train/lr(1e-3):1"
python3 -c 'raise ValueError("the batch does not fit")'
"""
STAYS = """\
trap 'echo in order; kill %1; exit 0' USR1
sleep 300 &
wait
"""


class Stage:
    """A run of its own on the cluster, and calls of slurm_job for it."""

    def __init__(self, sandbox: Cluster, scratch: Path, name: str) -> None:
        self.sandbox = sandbox
        self.scratch = scratch
        self.inside = f"/home/mluser/tests/{name}/{HOSTILE}"
        self.outside = sandbox.home / "tests" / name / HOSTILE
        self.lines: list[str] = []

    def options(self, body: str = TRAINS, **options: Any) -> dict[str, Any]:
        """The options of a call, for a job with this script."""
        return {
            "run_dir": self.inside,
            "stage": "sft",
            "name": "test_sft",
            "script": SHELL + body,
            "sbatch": {"nodes": 2, "gpus-per-node": 1, "time": 5},
            "output": f"{self.inside}/logs/%x-%j.out",
            "error": f"{self.inside}/logs/%x-%j.err",
            "directories": [f"{self.inside}/logs"],
            "spec": {"lr": 0.1},
            **options,
        }

    def call(
        self, body: str = TRAINS, path: str = "", check: bool = False, **options: Any
    ) -> dict[str, Any]:
        environment = {"PATH": f"{path}:/usr/bin:/bin"} if path else {}
        given = self.options(body, **options)
        (answer,) = self.calls({"options": given, "check": check, "environment": environment})
        return answer

    def calls(self, *calls: dict[str, Any]) -> list[dict[str, Any]]:
        """Calls one after the other, in one play: their answers."""
        done = play(PLAY, {"calls": calls})
        assert "RESULT:" in done.stdout, done.stdout + done.stderr
        self.lines = re.findall(r"^\[sft\] (?:… )?(.*)$", done.stdout, re.MULTILINE)
        answers: list[dict[str, Any]] = result(done.stdout)
        return answers

    def clear(self) -> None:
        """End what is left and remove the folder, without Ansible's own time."""
        folder = f"tests/{self.outside.parent.name}"
        self.sandbox.end_jobs(folder)
        self.sandbox.run(f"rm -rf {folder}")

    def accounted(self, job_id: str) -> str:
        """State, exit code and nodes of a job in the accounting."""
        return self.sandbox.ended(job_id, "State,ExitCode,NodeList")

    def names(self) -> list[str]:
        """The names of all jobs that were submitted for this run. The accounting would tell some
        seconds late; slurmctld remembers for 300 s."""
        lines = self.sandbox.run("squeue --me -h -t all -o '%j %Z'").splitlines()
        return [line.split()[0] for line in lines if self.outside.parent.name in line]


@pytest.fixture
def stage(sandbox: Cluster, tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(sandbox, tmp_path, f"slurm-job-{time.time_ns()}")
    yield stage
    stage.clear()


@pytest.mark.slurm_core
def test_a_stage_is_trained_once_and_then_left_alone(stage: Stage) -> None:
    slowly = TRAINS.replace("sleep 1", "sleep 2")
    answer = stage.call(slowly, wait=True)
    assert "failed" not in answer or not answer["failed"], answer["msg"]
    assert (answer["action"], answer["changed"]) == ("submitted", True)
    assert (answer["job"]["state"], answer["job"]["exit_code"]) == ("COMPLETED", 0)
    assert answer["progress"]["metrics"] == {"first_loss": 8.5, "loss": 3.5}
    assert stage.accounted(answer["job"]["id"]) == "COMPLETED|0:0|osk-gpu[94-95]"
    assert stage.lines[0].startswith(f"Submitted job {answer['job']['id']} (attempt 1)")
    assert re.match(
        r"job \d+ COMPLETED on osk-gpu\[94-95\] · step 6 · loss 3.5 · ", stage.lines[-1]
    )
    assert len(stage.lines) >= 3, "the steps are shown while they come"
    out = next((stage.outside / "logs").glob("*.out")).read_text()
    assert out.endswith(("osk-gpu94\nosk-gpu95\n", "osk-gpu95\nosk-gpu94\n"))

    again = stage.call(slowly, wait=True)
    assert (again["action"], again["changed"], stage.lines) == ("nothing", False, [])
    assert len(stage.names()) == 1
    _it_knew_its_record_and_little_else(stage, answer)


def _it_knew_its_record_and_little_else(stage: Stage, answer: dict[str, Any]) -> None:
    seen = (stage.outside / ".mnrun/sft" / answer["fingerprint"][:12] / "seen-env").read_text()
    values = dict(line.split("=", 1) for line in seen.splitlines() if "=" in line)
    assert values["MNRUN_RECORD"] == answer["record"]
    assert values["MNRUN_ATTEMPT"] == "1"
    assert values["PWD"] == stage.inside
    assert "MNRUN_RECORDER" not in values
    assert not [name for name in values if name.startswith(("ANSIBLE", "SSH"))]
    assert "SLURM_TIME_FORMAT" not in values


@pytest.mark.slurm_core
def test_a_failure_is_told_with_its_cause_and_gets_a_successor(stage: Stage) -> None:
    answer = stage.call(RAISES, wait=True)
    assert answer["failed"]
    assert "ended as FAILED (NonZeroExitCode) with exit code 1" in answer["msg"]
    assert "ValueError: the batch does not fit" in answer["msg"]
    assert answer["log_tail"][-1] == "ValueError: the batch does not fit"
    assert answer["log_path"].startswith(f"{stage.inside}/logs/")
    assert stage.accounted(answer["job"]["id"]).startswith("FAILED|1:0|osk-gpu")
    again = stage.call(TRAINS)
    assert (again["action"], again["attempt"]) == ("resubmitted", 2)


@pytest.mark.slurm_core
def test_a_live_job_is_attached_to_defended_and_stopped_in_order(stage: Stage) -> None:
    first = stage.call(STAYS, labels={"owner": "ppo"})
    stage.sandbox.wait(f"squeue -h -o %T -j {first['job']['id']}", "RUNNING")
    attached, refused, of_another, stopped, again = stage.calls(
        {"options": stage.options(STAYS)},
        {"options": stage.options(STAYS, spec={"lr": 0.2})},
        {"options": stage.options(state="absent", match_labels={"owner": "user"})},
        {"options": stage.options(state="absent", stop_signal="USR1", stop_timeout=20)},
        {"options": stage.options(state="absent")},
    )
    assert attached["action"] == "attached"
    assert refused["failed"]
    assert "lr: 0.1 -> 0.2" in refused["msg"]
    assert of_another["changed"] is False
    assert (stopped["action"], stopped["changed"]) == ("stopped", True)
    assert stage.accounted(first["job"]["id"]) == "COMPLETED|0:0|osk-gpu[94-95]"
    assert next((stage.outside / "logs").glob("*.out")).read_text() == "in order\n"
    assert again["changed"] is False
    assert len(stage.names()) == 1


def test_another_spec_takes_the_place_of_a_live_job_when_told_to(stage: Stage) -> None:
    first = stage.call(STAYS)
    second = stage.call(STAYS, spec={"lr": 0.2}, replace=True)
    assert (second["action"], second["changed"]) == ("replaced", True)
    stage.sandbox.wait(f"squeue -h -j {first['job']['id']} -t all -o %T", "^CANCELLED$")
    assert len(stage.names()) == 2


def test_a_job_cancelled_by_hand_is_told_so_and_starts_again_by_hand(stage: Stage) -> None:
    first = stage.call(STAYS)
    stage.sandbox.run(f"scancel {first['job']['id']}")
    again = stage.call(TRAINS)
    assert again["action"] == "resubmitted"
    assert "ended as CANCELLED" in again["msg"]
    assert "ended as CANCELLED" in again["msg"]


SHIM = """#!/bin/bash
/usr/bin/sbatch "$@" > /dev/null
kill -KILL $PPID
"""


@pytest.mark.slurm_core
def test_a_job_whose_controller_was_killed_in_sbatch_is_adopted(stage: Stage) -> None:
    shims = stage.outside.parent / "bin"
    stage.sandbox.run(f"mkdir -p tests/{shims.parent.name}/bin")
    (shims / "sbatch").write_text(SHIM)
    (shims / "sbatch").chmod(0o755)
    inside = f"/home/mluser/tests/{shims.parent.name}/bin"
    assert stage.call(STAYS, path=inside)["failed"]
    (attempt,) = json.loads(next(stage.outside.rglob("record.json")).read_text())["attempts"]
    assert (attempt["state"], attempt["job_id"]) == ("INTENT", "")

    answer = stage.call(STAYS)
    assert (answer["action"], answer["attempt"]) == ("adopted", 1)
    assert answer["job"]["id"]
    assert stage.call(STAYS)["action"] == "attached"
    assert stage.names() == [answer["job"]["name"]]


def test_of_two_jobs_of_one_attempt_only_one_works(stage: Stage) -> None:
    first = stage.call(STAYS)
    stage.sandbox.wait(f"squeue -h -o %T -j {first['job']['id']}", "RUNNING")
    stage.sandbox.wait(f"ls tests/{stage.outside.parent.name}/*/.mnrun/sft/*", r"start-1\.json")
    script = f"tests/{stage.outside.parent.name}/*/.mnrun/sft/*/script.sh"
    twin = stage.sandbox.submit("--nodes=1 --gpus-per-node=0 --wait -o twin.out", script)
    assert stage.accounted(twin).startswith("COMPLETED|0:0")
    assert "another job works on this already" in stage.sandbox.run("cat twin.out; rm twin.out")


def test_check_mode_shows_all_and_leaves_no_trace(stage: Stage) -> None:
    answer = stage.call(check=True)
    assert (answer["action"], answer["changed"], answer["job"]) == ("submitted", True, None)
    script, folders, _spec = answer["diff"]
    assert script["after"] == SHELL + DIRECTIVES + TRAINS
    assert f"{stage.inside}/logs\n" in folders["after"]
    assert not stage.outside.exists()
    assert stage.names() == []


# Options of sbatch, what is said, whether only a check is asked for.
REFUSED: list[tuple[dict[str, Any], str, bool]] = [
    (
        {"partition": "YOU_TEAM"},
        r"no partition YOU_TEAM; available: .*Existing partitions: gpu\*",
        True,
    ),
    ({"nodelist": "osk-gpu[94-97]"}, r"no node osk-gpu96, osk-gpu97; the cluster has", False),
    ({"gpus-per-node": 9}, r"9 GPUs on each of 1 nodes.* have at most 8", True),
    ({"nodes": 3}, r"nodes: 3 are requested, partition gpu allows 2", False),
    ({"partition": "debug", "time": "2-0"}, r"= 2 days, but .* debug allows 30 minutes", False),
    ({"time": "0"}, r"time: 0 = no limit, but partition gpu allows", False),
    ({"account": "nobody", "licenses": "x:1"}, r"Slurm refuses the job, .* license", False),
    ({"constraint": "no-such"}, r"Slurm refuses the job.*[Ff]eature", True),
    ({"no-such-option": 1}, r"option no-such-option is not one of sbatch's", False),
    ({"time": 7200}, r"'2:00:00' for 2 hours or '7200' for 5 days", False),
]


@pytest.mark.slurm_core
def test_what_slurm_cannot_run_is_refused_with_what_it_has(stage: Stage) -> None:
    answers = stage.calls(
        *(
            {"options": stage.options("true\n", sbatch=options), "check": check}
            for options, _, check in REFUSED
        )
    )
    for answer, (_, said, _) in zip(answers, REFUSED, strict=True):
        assert answer["failed"], said
        assert re.search(said, answer["msg"]), answer["msg"]
    assert stage.names() == []


def test_options_reach_slurm_as_they_were_given(stage: Stage) -> None:
    options = {"nodes": "1-2", "exclusive": True, "time": "0:90", "account": "", "nice": 7}
    answer = stage.call("true\n", sbatch={**options, "mcs-label": None, "contiguous": True})
    shown = stage.sandbox.run(f"scontrol show job -o {answer['job']['id']}")
    for words in ("TimeLimit=00:02:00", "Nice=7", "Contiguous=1", "OverSubscribe=NO"):
        assert words in shown, shown
    assert stage.call("true\n", sbatch={"nodes": 2})["action"] in {"attached", "nothing"}


def test_the_table_of_options_is_this_sbatch_s(stage: Stage) -> None:
    listed = of_help(stage.sandbox.run("sbatch --help"))
    assert listed == {}, "options of this Slurm that the table does not have"
