"""`mnrun wait`: the whole way, from the action on the controller to the commands of Slurm."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible.playbook.task import Task
from ansible_collections.mnrun.train.plugins.action import stage_end
from ansible_collections.mnrun.train.plugins.module_utils.base.process import Result
from ansible_collections.mnrun.train.plugins.module_utils.stage import module as edge
from ansible_collections.mnrun.train.plugins.module_utils.stage.conclude import conclude
from ansible_collections.mnrun.train.plugins.modules import slurm_job_info
from ansible_collections.mnrun.train.plugins.plugin_utils import connection

from tests.helpers.checkpoints import write_step
from tests.helpers.stage_run import Run

Wait = Callable[..., dict[str, Any]]
LOG = "total number of steps 16\nstep:1 - train/loss:6.5\nstep:{0} - train/loss:0.5\n"


@pytest.fixture
def wait(run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Wait:
    """Wait for SFT on a clock that no one waits for; each call of a module takes half a second."""
    monkeypatch.setattr(slurm_job_info, "run", run.slurm)
    monkeypatch.setattr(edge, "Clock", lambda: run.clock)
    time = SimpleNamespace(monotonic=run.clock.monotonic, sleep=run.clock.sleep)
    monkeypatch.setattr(connection, "time", time)
    monkeypatch.setattr(stage_end, "time", time)

    def execute(module_args: dict[str, Any], **_rest: Any) -> Any:
        run.clock.sleep(0.5)
        with patch_module_args(module_args), pytest.raises(SystemExit):
            slurm_job_info.main()
        return json.loads(capsys.readouterr().out)

    def call(check: bool = False, screen: Any = None, **arguments: Any) -> dict[str, Any]:
        task = Task()
        task.args = {"run_dir": str(run.folder), "stage": "sft", **arguments}
        task.check_mode = check
        connected = SimpleNamespace(_shell=SimpleNamespace(tmpdir="/tmp"))
        plugin = stage_end.ActionModule(task, connected, None, None, None, None)
        shown = [] if screen is None else screen
        plugin._display = SimpleNamespace(display=shown.append)
        plugin._execute_module = execute
        return plugin.run(task_vars={})

    return call


def end(run: Run, state: str, step: int = 16) -> None:
    """Let the job write checkpoints and end, as Slurm knows it."""
    run.log(LOG.format(step))
    write_step(run.rule.path, step)
    run.slurm.end(run.job, state, "0:0" if state == "COMPLETED" else "1:0")


def settle(run: Run) -> None:
    """What the command does that follows the stage."""
    conclude(run.stage(checkpoints=run.rule), len(run.slurm.jobs), 10)


def end_and_settle(run: Run) -> None:
    end(run, "COMPLETED")
    settle(run)


def test_what_was_never_submitted_is_said_at_once(run: Run, wait: Wait) -> None:
    answer = wait()
    assert answer["failed"]
    assert answer["msg"] == f"Nothing of the stage sft was submitted in {run.folder}."


def test_it_returns_when_the_stage_is_done_and_asks_slurm_twice_a_minute(
    run: Run, wait: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.present(checkpoints=run.rule)
    run.clock.after(60, lambda: run.slurm.run(run.job))
    run.clock.after(3600, lambda: end_and_settle(run))
    asked: list[float] = []
    query = run.slurm._squeue

    def counted(arguments: list[str]) -> Result:
        asked.append(run.clock.monotonic())
        return query(arguments)

    monkeypatch.setattr(run.slurm, "_squeue", counted)
    begun = run.clock.monotonic()
    answer = wait()
    assert not answer.get("failed"), answer
    assert answer["msg"].startswith("Job 12 COMPLETED")
    assert 3600 <= run.clock.monotonic() - begun <= 3640
    ours = [moment for moment in asked if moment - begun < 3599]
    gaps = [later - earlier for earlier, later in itertools.pairwise(ours)]
    assert len(gaps) > 100
    assert min(gaps) >= 30


def test_each_state_is_shown_at_once_and_steps_now_and_then(run: Run, wait: Wait) -> None:
    run.present(checkpoints=run.rule)
    run.clock.after(100, lambda: run.slurm.run(run.job))
    for step in range(1, 110):
        run.clock.after(100 + 30 * step, partial(run.log, LOG.format(step)))
    run.clock.after(3600, lambda: end_and_settle(run))
    screen: list[str] = []
    wait(screen=screen)
    assert "PENDING" in screen[0]
    assert "RUNNING" in next(text for text in screen if "PENDING" not in text)
    assert 20 < len(screen) < 60, "there are 120 queries"


def test_a_failure_has_its_cause(run: Run, wait: Wait) -> None:
    run.present(checkpoints=run.rule)
    run.log("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB\n", "stderr")
    run.slurm.end(run.job, "FAILED", "1:0")
    answer = wait()
    assert answer["failed"]
    assert "Cause: out of GPU memory." in answer["msg"]
    assert "What to do: Reduce the micro batch" in answer["msg"]
    assert not run.attempt().settled, "a query changes no record"


def test_a_cancelled_stage_is_not_done(run: Run, wait: Wait) -> None:
    run.present(checkpoints=run.rule)
    run.slurm.end(run.job, "CANCELLED", "0:15")
    answer = wait()
    assert answer["failed"]
    assert "Cause: cancelled by hand" in answer["msg"]


def test_a_retry_is_waited_for(run: Run, wait: Wait) -> None:
    run.present(checkpoints=run.rule)
    end(run, "TIMEOUT", 8)

    def retry() -> None:
        settle(run)
        run.present(checkpoints=run.rule)
        run.slurm.run(run.job)

    run.clock.after(10, retry)
    run.clock.after(300, lambda: end_and_settle(run))
    answer = wait()
    assert not answer.get("failed"), answer


def test_a_failure_that_no_one_retries_is_one(run: Run, wait: Wait) -> None:
    run.present(checkpoints=run.rule)
    end(run, "TIMEOUT", 8)
    answer = wait()
    assert answer["failed"]
    assert "Cause: the job's time limit." in answer["msg"]


def test_a_job_that_exits_well_before_its_last_step_is_not_done(run: Run, wait: Wait) -> None:
    run.present(checkpoints=run.rule)
    end(run, "COMPLETED", 8)
    settle(run)
    answer = wait()
    assert answer["failed"]
    assert "its result is not complete; `mnrun sft` continues." in answer["msg"]


def test_a_job_that_no_one_followed_ended_well_as_far_as_slurm_knows(run: Run, wait: Wait) -> None:
    run.present(checkpoints=run.rule)
    end(run, "COMPLETED")
    answer = wait()
    assert not answer.get("failed")
    assert "Its result was not verified yet; `mnrun sft` does that." in answer["msg"]


def test_a_job_that_ended_after_its_last_checkpoint_is_done(run: Run, wait: Wait) -> None:
    run.present(checkpoints=run.rule)
    end(run, "TIMEOUT")
    settle(run)
    assert not wait().get("failed")


@pytest.mark.parametrize("minutes", [1, 2, 7])
def test_the_time_is_bounded(run: Run, wait: Wait, minutes: int) -> None:
    run.present(checkpoints=run.rule)
    begun = run.clock.monotonic()
    answer = wait(timeout=minutes)
    assert answer["failed"]
    assert f"Not ended after {minutes} min: job 12 PENDING" in answer["msg"]
    assert minutes * 60 - 2 <= run.clock.monotonic() - begun <= minutes * 60 + 2


def test_a_state_that_stays_unknown_is_given_up(run: Run, wait: Wait) -> None:
    run.present(checkpoints=run.rule)
    run.slurm.down = run.slurm.accounting_down = True
    answer = wait()
    assert answer["failed"]
    assert answer["msg"].startswith("Its state has been unknown for 6")


def test_a_dry_run_waits_for_nothing(run: Run, wait: Wait) -> None:
    run.present(checkpoints=run.rule)
    assert wait(check=True)["msg"].startswith("Not ended: Job 12 PENDING")
