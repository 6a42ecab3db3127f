"""The short job that looks at the nodes: what is made of what they report, and that it goes."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.finding import FAULT, OK, WARNING
from ansible_collections.mnrun.train.plugins.module_utils.base.process import Result
from ansible_collections.mnrun.train.plugins.module_utils.preflight import trial, trial_job
from ansible_collections.mnrun.train.plugins.module_utils.slurm.client import SlurmClient

from tests.helpers.fake_slurm import FakeClock

PROGRAM = Path(__file__).parents[3] / "roles/preflight/files/trial_node.py"
GOOD = {"now": 1.0, "folder": "", "taken": [], "unreached": [], "versions": {"verl": "0.5.0"}}
TRIAL = trial.Trial("true", {"trial_node.py": ""}, ["verl"], [37173], 1, 60.0)


def judged(folder: Path, *nodes: dict[str, Any]) -> list[tuple[str, str]]:
    reports = [{"node": f"n{number}", **GOOD, **one} for number, one in enumerate(nodes, 1)]
    for one in reports:
        if not one["folder"]:
            (folder / f"seen-{one['node']}").write_text("token")
    found = trial.of_nodes(folder, "token", reports, len(nodes), [37173])
    return [(one.level, one.what) for one in found]


def test_two_good_nodes(tmp_path: Path) -> None:
    assert [level for level, _ in judged(tmp_path, {}, {})] == [OK, OK]


@pytest.mark.parametrize(
    ("wrong", "level", "words"),
    [
        ({"folder": "is not there"}, FAULT, "n2: {folder} is not there; is it mounted there?"),
        ({"unreached": [37173]}, FAULT, "n2 does not reach port 37173"),
        ({"versions": {"verl": "0.6.0"}}, FAULT, "verl differs: 0.5.0 on n1, 0.6.0 on n2"),
        ({"versions": {}}, FAULT, "verl differs: 0.5.0 on n1, none on n2"),
        ({"versions": "python: not found"}, FAULT, "n2: the training environment does not work"),
        ({"now": 100.0}, WARNING, "the clocks of the nodes are 99 s apart"),
    ],
)
def test_what_is_wrong_with_a_node(
    tmp_path: Path, wrong: dict[str, Any], level: str, words: str
) -> None:
    texts = judged(tmp_path, {}, wrong)
    assert [text for text in texts if text[0] != OK] == [
        (level, text) for _, text in texts if words.format(folder=tmp_path.parent) in text
    ]
    assert any(text[0] == level for text in texts)


def test_a_port_that_is_taken_is_not_called_unreached(tmp_path: Path) -> None:
    found = judged(tmp_path, {"taken": [37173]}, {"unreached": [37173]})
    faults = [text for level, text in found if level == FAULT]
    assert faults == ["n1: port 37173 of Ray is taken by another process; choose another one"]


def test_what_a_node_writes_has_to_be_seen_here(tmp_path: Path) -> None:
    found = list(trial.of_nodes(tmp_path, "token", [{"node": "n1", **GOOD}], 1, []))
    assert "what n1 writes to" in found[0].what


def test_reports_are_found_between_banners() -> None:
    line = json.dumps({"node": "n1"})
    assert trial.reports(f"Welcome\n{line}\n{{}}\n[1]\n{{broken\n") == [{"node": "n1"}]


def look(plan: dict[str, Any], rank: int) -> subprocess.Popen[str]:
    place = {"SLURMD_NODENAME": f"n{rank}", "SLURM_PROCID": str(rank)}
    return subprocess.Popen(
        [sys.executable, PROGRAM, json.dumps(plan)], env={**os.environ, **place},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_nodes_see_the_folder_and_each_other(tmp_path: Path) -> None:
    (tmp_path / "canary").write_text("token")
    with socket.socket() as taken, socket.socket() as free:
        taken.bind(("", 0))
        taken.listen()
        free.bind(("", 0))
        ports = [free.getsockname()[1], taken.getsockname()[1]]
        free.close()
        plan = {"folder": str(tmp_path), "token": "token", "packages": ["pytest", "no-such"],
                "ports": ports, "nodes": 2, "address": "127.0.0.1"}  # fmt: skip
        nodes = [look(plan, rank) for rank in (0, 1)]
        first, second = (json.loads(node.communicate(timeout=60)[0]) for node in nodes)
    assert (first["folder"], second["folder"]) == ("", "")
    assert (first["taken"], second["unreached"]) == ([ports[1]], [])
    assert sorted(first["versions"]) == ["no-such", "pytest"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["canary", "seen-n0", "seen-n1"]


def test_a_node_without_the_folder_says_so(tmp_path: Path) -> None:
    plan = {"folder": str(tmp_path / "none"), "token": "t", "packages": [], "ports": [],
            "nodes": 1, "address": ""}  # fmt: skip
    (found,) = trial.reports(look(plan, 0).communicate(timeout=60)[0])
    assert found["folder"] == "is not there"


def test_a_message_beside_the_address_is_no_fault(tmp_path: Path) -> None:
    files = {"activation": "", "address": "warning: setlocale", "nodes": json.dumps({
        "node": "n1", **GOOD, "folder": "is not there"}), "gate.code": "0"}  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = list(trial._found(tmp_path, "token", {"nodes": "1"}, TRIAL))
    assert [one.what for one in found] == [
        f"n1: {tmp_path.parent} is not there; is it mounted there?"
    ]
    (tmp_path / "nodes").unlink()
    assert [one.what for one in trial._found(tmp_path, "token", {"nodes": "1"}, TRIAL)] == [
        "warning: setlocale"
    ]


class Slurm:
    """Takes the job, which is in a state until it is cancelled and its last seconds are over."""

    def __init__(self, clock: FakeClock, state: str, ends: float = 0.0) -> None:
        self.clock, self.state, self.ends = clock, state, ends
        self.cancelled, self.script = 0, ""
        self.during_sbatch: Callable[[], Result | None] = lambda: None
        self.at_end: Callable[[], None] = lambda: None
        self.listed = True  # by squeue

    def __call__(self, command: list[str], _seconds: float, stdin: str) -> Result:
        return getattr(self, command[0])(command, stdin)  # type: ignore[no-any-return]

    def sbatch(self, _command: list[str], stdin: str) -> Result:
        self.script = stdin
        return self.during_sbatch() or Result(0, "12\n", "")

    def scancel(self, _command: list[str], _stdin: str) -> Result:
        self.cancelled += 1
        if self.cancelled == 1:
            self.state = "COMPLETING" if self.state == "RUNNING" else "CANCELLED"
            self.clock.after(self.ends, self._end)
        return Result(0, "", "")

    def _end(self) -> None:
        self.at_end()
        self.state = "CANCELLED"

    def scontrol(self, _command: list[str], _stdin: str) -> Result:
        shown = f"JobId=12 JobName=x JobState={self.state} Reason=Resources"
        return Result(0, f"{shown} ExitCode=0:0 NodeList=\n", "")

    def squeue(self, command: list[str], _stdin: str) -> Result:
        bar = command[-1].partition("%i")[2].partition("%T")[0]
        heads = ["JOBID", "STATE", "REASON", "START_TIME", "NODELIST", "NAME", "COMMENT"]
        row = ["12", self.state, "None", "N/A", "", self.name, ""]
        rows = [heads, *([row] if self.listed else [])]
        return Result(0, "".join(f"{bar.join(one)}\n" for one in rows), "")

    @property
    def name(self) -> str:
        found = re.search(r"--job-name=(\S+)", self.script)
        return found[1] if found else ""

    @property
    def nodes(self) -> list[str]:
        return re.findall(r"#SBATCH --nodes=(\S+)", self.script)


def tried(slurm: Slurm, parent: Path, **sbatch: str) -> list[Any]:
    client = SlurmClient(slurm, slurm.clock)
    return trial.try_nodes(parent, {"nodes": "2", **sbatch}, TRIAL, client, slurm.clock)


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(select, "poll", Listening)
    return monkeypatch


def test_a_job_that_waits_too_long_is_cancelled_and_nothing_stays(
    tmp_path: Path, listening: pytest.MonkeyPatch
) -> None:
    slurm = Slurm(FakeClock(), "PENDING")
    (found,) = tried(slurm, tmp_path)
    assert found.level == WARNING
    assert "still waits (Resources) after 60 s" in found.what
    assert slurm.cancelled == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_while_sbatch_runs_waits_until_the_job_can_be_cancelled(
    tmp_path: Path, listening: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    slurm = Slurm(FakeClock(), "PENDING")
    main = threading.get_ident()
    slurm.during_sbatch = lambda: signal.pthread_kill(main, number)
    with pytest.raises(trial_job.Interrupted, match=number.name):
        tried(slurm, tmp_path)
    assert slurm.cancelled == 1
    assert list(tmp_path.iterdir()) == []
    assert number not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.parametrize(
    "lost", [Result(None, "", ""), Result(-1, "", ""), Result(0, "1\n2\n", ""),
             Result(1, "", "sbatch: error: Unable to contact slurm controller")]
)  # fmt: skip
def test_a_job_whose_sbatch_got_no_answer_is_found_by_its_name(
    tmp_path: Path, listening: pytest.MonkeyPatch, lost: Result
) -> None:
    slurm = Slurm(FakeClock(), "PENDING")
    slurm.during_sbatch, slurm.listed = lambda: lost, False
    slurm.clock.after(5, lambda: setattr(slurm, "listed", True))
    (found,) = tried(slurm, tmp_path)
    assert "still waits (Resources)" in found.what
    assert slurm.cancelled == 1


def test_a_job_that_may_come_later_is_named(tmp_path: Path, listening: pytest.MonkeyPatch) -> None:
    slurm = Slurm(FakeClock(), "PENDING")
    slurm.during_sbatch, slurm.listed = lambda: Result(None, "", ""), False
    (found,) = tried(slurm, tmp_path)
    assert found.what.endswith(f"scancel --name={slurm.name}")
    assert slurm.name.startswith("mnrun-doctor-")
    assert slurm.cancelled == 0


def test_the_folder_stays_until_the_job_writes_no_more(
    tmp_path: Path, listening: pytest.MonkeyPatch
) -> None:
    slurm = Slurm(FakeClock(), "RUNNING", ends=40.0)
    there: list[Path] = []
    slurm.at_end = lambda: there.extend(tmp_path.iterdir())
    (found,) = tried(slurm, tmp_path)
    assert "has not ended (it is RUNNING) after 60 s" in found.what
    assert [path.name for path in there] == [f".{slurm.name}"]
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_removed_is_named(tmp_path: Path, listening: pytest.MonkeyPatch) -> None:
    slurm = Slurm(FakeClock(), "RUNNING", ends=1000.0)
    listening.setattr(shutil, "rmtree", lambda *_args, **_options: None)
    found = tried(slurm, tmp_path)
    (folder,) = tmp_path.iterdir()
    assert [one.level for one in found] == [WARNING, WARNING]
    assert "(90 s after it was cancelled):  scancel 12" in found[1].what
    assert f"{folder} could not be removed" in found[1].what


@pytest.mark.parametrize(
    ("sbatch", "nodes"),
    [({"nodes": "1-2"}, "1"), ({"nodes": "2-4", "nodelist": "n[1-3]"}, "3"), ({"nodes": "2"}, "2")],
)
def test_of_a_range_of_nodes_the_least_is_looked_at(
    tmp_path: Path, listening: pytest.MonkeyPatch, sbatch: dict[str, str], nodes: str
) -> None:
    slurm = Slurm(FakeClock(), "PENDING")
    (found,) = tried(slurm, tmp_path, **sbatch)
    assert found.level == WARNING
    assert slurm.nodes == [nodes]


class Listening:
    """The output, which someone reads."""

    def register(self, *_: int) -> None: ...

    def poll(self, _milliseconds: int) -> list[tuple[int, int]]:
        return []


class Gone(Listening):
    """The output, which no one reads any more."""

    def poll(self, _milliseconds: int) -> list[tuple[int, int]]:
        return [(1, select.POLLERR)]


def test_without_a_controller_the_job_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(select, "poll", Gone)
    slurm = Slurm(FakeClock(), "RUNNING")
    with pytest.raises(trial_job.Interrupted):
        tried(slurm, tmp_path)
    assert slurm.cancelled == 1
    assert list(tmp_path.iterdir()) == []
