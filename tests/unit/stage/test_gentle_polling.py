"""How often Slurm is asked while a job is followed for an hour.

The whole way, from the action plugin on the controller to the commands of the login node, on a
clock that nobody waits for.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible.playbook.task import Task
from ansible_collections.mnrun.train.plugins.action import slurm_job as action
from ansible_collections.mnrun.train.plugins.module_utils.stage import module as edge
from ansible_collections.mnrun.train.plugins.modules import slurm_job, slurm_job_info
from ansible_collections.mnrun.train.plugins.plugin_utils import connection, follow

from tests.helpers.fake_slurm import FakeClock, FakeSlurm

HOUR = 3600.0
MODULES = {"slurm_job": slurm_job, "slurm_job_info": slurm_job_info}


class Login:
    """The modules of the login node, over a fake Slurm; each call takes half a second."""

    def __init__(self, slurm: FakeSlurm, clock: FakeClock, screen: Any) -> None:
        self.slurm, self.clock, self.screen = slurm, clock, screen
        self.calls = 0

    def execute(self, module_name: str, module_args: dict[str, Any], **_rest: Any) -> Any:
        self.calls += 1
        self.clock.sleep(0.5)
        with patch_module_args(module_args), pytest.raises(SystemExit):
            MODULES[module_name.rpartition(".")[2]].main()
        return json.loads(self.screen.readouterr().out)


@pytest.fixture
def login(
    slurm: FakeSlurm,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Login:
    for module in (slurm_job, slurm_job_info):
        monkeypatch.setattr(module, "run", slurm)
    monkeypatch.setattr(slurm_job, "Clock", lambda: clock)
    monkeypatch.setattr(edge, "Clock", lambda: clock)
    time = SimpleNamespace(monotonic=clock.monotonic, sleep=clock.sleep)
    monkeypatch.setattr(connection, "time", time)
    monkeypatch.setattr(follow, "time", time)
    return Login(slurm, clock, capsys)


def follow_for_an_hour(login: Login, folder: Path) -> dict[str, int]:
    """Submit a job and follow it; the commands that Slurm got, by name."""
    task = Task()
    task.args = {
        "run_dir": str(folder),
        "stage": "sft",
        "name": "training",
        "script": "#!/bin/bash\nsrun train\n",
        "spec": {"lr": 0.1},
        "output": f"{folder}/log",
        "wait": True,
        "wait_timeout": int(HOUR),
    }
    connected = SimpleNamespace(_shell=SimpleNamespace(tmpdir="/tmp"))
    plugin = action.ActionModule(task, connected, None, None, None, None)
    plugin._display = SimpleNamespace(display=lambda _text: None)
    plugin._execute_module = login.execute
    plugin.run(task_vars={})
    names = [call[0] for call in login.slurm.calls]
    return {name: names.count(name) for name in sorted(set(names))}


def starts(login: Login, after: float, every: float, folder: Path) -> None:
    """Let the job start, and log a training step each so many seconds."""

    def step() -> None:
        with (folder / "log").open("a", encoding="utf-8") as file:
            file.write(f"step:{next(numbers)} - train/loss:1.0\n")

    numbers = itertools.count(1)
    login.clock.after(after, lambda: login.slurm.run(login.slurm.jobs[0]))
    for number in range(1, int(HOUR / every)):
        login.clock.after(after + number * every, step)


@pytest.mark.parametrize(
    ("after", "every"),
    [(HOUR, HOUR), (60, 5), (60, 60), (60, HOUR)],
    ids=["waits in the queue", "a step each 5 s", "a step each minute", "no step"],
)
def test_slurm_is_asked_twice_a_minute_of_a_long_job(
    login: Login, tmp_path: Path, after: float, every: float
) -> None:
    half: list[int] = []
    starts(login, after, every, tmp_path)
    login.clock.after(HOUR / 2, lambda: half.append(login.slurm.count("squeue")))
    counts = follow_for_an_hour(login, tmp_path)
    assert (counts.pop("scontrol"), counts.pop("sinfo")) == (2, 1)  # before the submission
    assert set(counts) == {"sbatch", "squeue"}  # squeue answers for all jobs at once
    assert counts["squeue"] <= 190
    assert counts["squeue"] - half[0] <= 61
    assert login.calls <= 150  # modules run on the login node


def test_the_line_that_ticks_and_the_job_s_log_cost_no_more(
    login: Login, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MNRUN_LINES", "log")
    starts(login, 60, 60, tmp_path)
    counts = follow_for_an_hour(login, tmp_path)
    assert counts["squeue"] <= 190
    assert login.calls <= 150


def test_an_end_is_seen_at_once_all_the_same(login: Login, tmp_path: Path) -> None:
    starts(login, 60, 60, tmp_path)
    ended = HOUR - 100

    def end() -> None:
        (record,) = tmp_path.glob(".mnrun/sft/*/record.json")
        token = json.loads(record.read_text())["attempts"][-1]["token"]
        words = {"job_id": "12", "token": token, "exit_code": 0, "start": 1, "end": 2}
        record.with_name("end-1.json").write_text(json.dumps(words))
        login.slurm.end(login.slurm.jobs[0], "COMPLETED")

    login.clock.after(ended, end)
    begun = login.clock.monotonic()
    follow_for_an_hour(login, tmp_path)
    assert ended < login.clock.monotonic() - begun < ended + 5
