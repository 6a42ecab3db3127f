"""The relay's program: what it runs, in which order, and how it says that it left the run."""

from __future__ import annotations

import base64
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mnrun import cli, relay
from mnrun.arguments import parse
from mnrun.handover import handover

TURN = {"goes": True, "why": "", "waits": False, "deaths": 0}
JOB = {"job": {"id": "8"}, "stage": "relay-2"}


def event(name: str, **result: Any) -> dict[str, Any]:
    return {"event": name, "event_data": {"res": result}}


class Played:
    """Stands for the playbooks: answers of `work` in turn, and what was run."""

    def __init__(
        self, turn: Mapping[str, Any], work: list[Any], heir: bool = True, begins: Any = ()
    ) -> None:
        self.turn, self.work, self.heir, self.begins = turn, work, heir, begins
        self.stage = "relay"
        self.more: list[str] = []
        self.holders: list[str] = []
        self.names: list[str] = []
        self.variables: dict[str, Any] = {}

    def __call__(
        self, _options: Any, command: Any, _inventory: str, variables: Any, look: Callable[..., Any]
    ) -> int:
        self.names.append(command.playbook)
        self.variables[command.playbook] = variables
        if command.playbook == "relay_begin" and self.begins:
            look(self.begins[1])
            return int(self.begins[0])
        if command.playbook == "relay_begin":
            look(event("runner_on_ok", relay_turn=dict(self.turn)))
            held = self.holders.pop(0) if self.holders else "7"
            look(event("runner_on_ok", held=held == "7", holder={"number": 1, "job": held}))
            if self.heir:
                look(event("runner_on_ok", **JOB))
            return 0
        if command.playbook == "relay_end":
            return 0
        code, *events = self.work.pop(0)
        for one in events:
            look(one) if isinstance(one, dict) else one()
        return int(code)


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Played], int]:
    folder = tmp_path / "handover" / "one"
    (folder / "site").mkdir(parents=True)
    (folder / "site" / "hosts.yml").write_text("all: {}")
    given = {"words": ["sft"], "extra_vars": ["a=1"]}
    if not (folder / "words.json").exists():
        (folder / "words.json").write_text(json.dumps(given))
    before = signal.getsignal(signal.SIGUSR1)
    # Set here, so that they are put back: the program takes them out.
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    for name in [name for name in os.environ if name.startswith(relay._OF_JOBS)]:
        monkeypatch.setenv(name, os.environ[name])
    pause = time.sleep
    monkeypatch.setattr(time, "sleep", lambda _: pause(0.001))

    def run(played: Played) -> int:
        monkeypatch.setattr(cli, "play", played)
        line = [
            str(folder),
            "--stage",
            played.stage,
            "--since",
            "5",
            "--deaths",
            "0",
            "--after",
            "",
            *played.more,
        ]
        try:
            return relay.main(line)
        finally:
            signal.signal(signal.SIGUSR1, before)

    return run


def test_it_begins_works_and_ends_its_heir(left: Callable[[Played], int]) -> None:
    played = Played(TURN, [(0,)])
    assert left(played) == relay.DONE
    assert played.names == ["relay_begin", "sft", "relay_end"]
    me = played.variables["relay_begin"]["relay_me"]
    assert (me["job"], me["heirs"]) == ("7", ["relay-2", "relay-3"])
    assert played.variables["sft"]["mnrun_handed_over_at"] == 5.0


def test_in_an_allocation_its_heirs_ask_for_the_same(left: Callable[[Played], int]) -> None:
    shape = {"nodes": 2, "time": "8:00:00"}
    played = Played(TURN, [(0,)])
    encoded = base64.b64encode(json.dumps(shape).encode()).decode()
    played.more = ["--allocation", "/run/allocation-7", "--shape", encoded]
    assert left(played) == relay.DONE
    assert played.variables["sft"]["mnrun_allocation"] == "/run/allocation-7"
    assert played.variables["relay_begin"]["relay_me"]["heir"]["shape"] == shape


def test_an_allocation_of_no_use_is_left_to_its_heir(left: Callable[[Played], int]) -> None:
    lost = event("runner_on_failed", msg="osk-gpu95 of the allocation is lost", leaves=True)
    played = Played(TURN, [(1, lost)])
    assert left(played) == relay.LEFT
    assert played.names == ["relay_begin", "sft"]


def test_on_a_login_node_it_has_no_heir(
    left: Callable[[Played], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID")
    monkeypatch.setenv("MNRUN_RECORD", str(tmp_path))
    monkeypatch.setenv("MNRUN_ATTEMPT", "3")
    me = "login.7.8.0123abcd"
    (tmp_path / "start-3.json").write_text(json.dumps({"job_id": me}))
    played = Played(TURN, [(0,)], heir=False)
    played.stage, played.holders = "relay-login", [me]
    assert left(played) == relay.DONE
    found = played.variables["relay_begin"]["relay_me"]
    assert (found["job"], found["heirs"]) == (me, [])
    assert "in process 7 on " in capsys.readouterr().out


def test_it_does_nothing_when_it_is_not_its_turn(left: Callable[[Played], int]) -> None:
    played = Played({**TURN, "goes": False, "why": "cancelled"}, [])
    assert left(played) == relay.IDLE
    assert played.names == ["relay_begin"]


def test_it_asks_again_while_that_is_not_known(left: Callable[[Played], int]) -> None:
    played = Played({**TURN, "goes": False, "waits": True}, [])
    assert left(played) == relay.IDLE
    assert played.names == ["relay_begin"] * relay._MOST_TRIES


def test_where_no_jobs_can_be_submitted_it_ends_at_once(left: Callable[[Played], int]) -> None:
    played = Played({}, [], begins=(1, event("runner_on_failed", msg="There is no squeue")))
    assert left(played) == relay.IDLE
    assert played.names == ["relay_begin"]


def test_it_asks_again_when_another_one_has_just_claimed_the_run(
    left: Callable[[Played], int],
) -> None:
    played = Played(TURN, [(0,)])
    played.holders = ["6", "7"]
    assert left(played) == relay.DONE
    assert played.names == ["relay_begin", "relay_begin", "sft", "relay_end"]


@pytest.mark.parametrize("name", ["000002.json", "000002.json.d"])
def test_it_ends_when_another_one_has_claimed_the_run_since(
    left: Callable[[Played], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    interrupted = threading.Event()
    monkeypatch.setattr(os, "kill", lambda _pid, _number: interrupted.set())

    def claimed() -> None:
        (tmp_path / "holders").mkdir()
        (tmp_path / "holders" / name).write_text("{}")
        assert interrupted.wait(10)

    played = Played(TURN, [(130, claimed)])
    assert left(played) == relay.IDLE
    assert played.names == ["relay_begin", "sft"]


@pytest.mark.parametrize(
    "failure",
    [
        [event("runner_on_failed", unknown=True)],
        [event("runner_on_failed", lost=True)],
        [event("runner_on_unreachable", unreachable=True)],
        [],  # Ansible itself was killed
    ],
)
def test_what_passes_is_tried_again(left: Callable[[Played], int], failure: list[Any]) -> None:
    played = Played(TURN, [(1, *failure), (0,)])
    assert left(played) == relay.DONE
    assert played.names == ["relay_begin", "sft", "sft", "relay_end"]


def test_a_failure_of_the_training_is_the_end(left: Callable[[Played], int]) -> None:
    played = Played(TURN, [(1, event("runner_on_failed", msg="it failed"))])
    assert left(played) == relay.FAILED
    assert played.names == ["relay_begin", "sft", "relay_end"]


def test_what_does_not_pass_is_not_tried_for_ever(left: Callable[[Played], int]) -> None:
    failures = [(1, event("runner_on_failed", unknown=True))] * relay._MOST_TRIES
    assert left(Played(TURN, failures)) == relay.FAILED


def test_one_that_is_ended_leaves_its_heir(left: Callable[[Played], int]) -> None:
    played = Played(TURN, [(143,)])
    assert left(played) == 143
    assert played.names == ["relay_begin", "sft"]


def _near_the_limit() -> None:
    with pytest.raises(KeyboardInterrupt):  # which ansible-runner's handler takes otherwise
        os.kill(os.getpid(), signal.SIGUSR1)


@pytest.mark.parametrize("heir", [True, False])
def test_near_its_time_limit_it_ends_for_its_heir(
    left: Callable[[Played], int], heir: bool
) -> None:
    played = Played(TURN, [(130, _near_the_limit)], heir)
    assert left(played) == relay.RENEWED
    assert played.names == ["relay_begin", "sft"] + ([] if heir else ["relay_begin"])


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({"msg": "sbatch refused {{ it }}."}, "sbatch refused {{ it }}."),
        ({"msg": "Job 12 failed.", "cause": {"code": "cuda"}}, ""),
    ],
)
def test_why_a_run_has_stopped_is_told_unless_a_job_was_the_reason(
    left: Callable[[Played], int], result: Mapping[str, Any], told: str
) -> None:
    played = Played(TURN, [(1, event("runner_on_failed", **result))])
    assert left(played) == relay.FAILED
    problem = played.variables["relay_end"]["relay_problem"]
    assert base64.b64decode(problem).decode() == told
    assert "{{" not in problem


def test_a_sweep_is_driven_with_a_relay_of_its_own(
    left: Callable[[Played], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "handover" / "one"
    options = parse(["sweep", str(_sweep(tmp_path)), "--detach"])
    data = json.loads(base64.b64decode(handover(options, "/site")))
    assert "--run lr-relay" in data["shown"]["attach"]
    for name, text in data["files"].items():
        path = folder / "variables" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "words.json").write_text(data["command"])
    driven = []

    def sweep(options: Any, *_: Any) -> int:
        driven.append((options.sweep_file, options.extra_vars))
        return len(driven) - 1

    monkeypatch.setattr(relay, "sweep", sweep)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "")
    played = Played(TURN, [])
    assert left(played) == relay.DONE
    assert driven == [(f"{folder}/variables/sweep/lr.yml", ["mnrun_handed_over_at=5.0"])]
    for name in ("relay_begin", "relay_end"):
        assert played.variables[name]["mnrun_run_name"] == "lr-relay"
    assert played.variables["relay_end"]["relay_problem"] == ""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert left(played) == relay.FAILED  # people are notified that it is not done
    problem = base64.b64decode(played.variables["relay_end"]["relay_problem"]).decode()
    assert "not all of its runs are done" in problem


def _sweep(folder: Path) -> Path:
    path = folder / "lr.yml"
    path.write_text("stage: sft\ngrid: {sft: {optim.lr: [1, 2]}}\n")
    return path
