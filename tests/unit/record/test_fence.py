"""The fence: of all jobs that could work on one attempt, at most one does, and we know which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    NOT_SUBMITTED,
    Attempt,
    JobRef,
    Phase,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.job_report import (
    give_up,
    given_up,
    read_start,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.ledger import Ledger
from ansible_collections.mnrun.train.plugins.module_utils.stage.absent import absent
from ansible_collections.mnrun.train.plugins.module_utils.stage.conclude import conclude
from ansible_collections.mnrun.train.plugins.module_utils.stage.decide import Action
from ansible_collections.mnrun.train.plugins.module_utils.stage.scope import Only
from ansible_collections.mnrun.train.plugins.module_utils.stage.stop import StopRule

from tests.helpers.crashes import Killed, arrive_late, claim, cut_off, die, folder_of
from tests.helpers.job_scripts import attempt, finish, start
from tests.helpers.stage_run import Run


def test_a_job_that_turns_up_after_the_quiet_window_ends_at_once(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cut_off(run, monkeypatch)
    run.present()
    assert [a.state for a in run.record().attempts] == [NOT_SUBMITTED, "PENDING"]
    assert given_up(folder_of(run), run.record().attempts[0])
    assert not given_up(folder_of(run), run.record().attempts[1])
    arrive_late(run)
    assert run.present().action is Action.ATTACH
    assert run.attempt().job_id == "12"

    # And so does the real script.
    folder = tmp_path / "late"
    folder.mkdir()
    assert give_up(folder, attempt(job_id=""), 7.0)
    code, out = finish(start(folder, "echo trained"))
    assert (code, "trained" in out) == (0, False)
    assert "another job works on this already" in out
    assert not (folder / "end-3.json").exists()


def test_an_intent_is_not_given_up_once_its_job_has_begun(tmp_path: Path) -> None:
    finish(start(tmp_path, "true"))
    assert not give_up(tmp_path, attempt(job_id=""), 7.0)
    assert read_start(tmp_path, attempt()) == JobRef("12")


def test_a_job_that_begins_just_when_it_is_given_up_is_adopted(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(run, monkeypatch)
    run.clock.sleep(1000)

    def quicker(folder: Path, late: Attempt, now: float) -> bool:
        arrive_late(run)
        run.slurm.run(run.job)
        claim(run, run.job.job_id)
        return give_up(folder, late, now)

    monkeypatch.setattr(
        "ansible_collections.mnrun.train.plugins.module_utils.stage.present.give_up", quicker
    )
    assert run.present().action is Action.ADOPT
    assert len(run.slurm.jobs) == 1


def test_one_who_dies_between_giving_up_and_writing_it_down_changes_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(run, monkeypatch)
    run.clock.sleep(1000)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "save", die)
        with pytest.raises(Killed):
            run.present()
    arrive_late(run)  # it waits in the queue, and will end at once
    assert run.present().action is Action.SUBMIT
    assert [a.state for a in run.record().attempts] == [NOT_SUBMITTED, "PENDING"]


def test_an_intent_that_is_stopped_is_given_up_too(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(run, monkeypatch)
    assert absent(run.stage(), Only(), StopRule(), check=False).action is Action.NOTHING
    assert run.clock.monotonic() >= 150
    assert given_up(folder_of(run), run.attempt())


def twin(run: Run) -> Any:
    """A second job of the same attempt, as of a submission that reached slurmctld twice."""
    arrive_late(run)
    return run.job


def test_of_two_jobs_the_one_that_works_is_the_attempt_s(run: Run) -> None:
    run.present()
    second = twin(run)
    run.slurm.run(second)
    claim(run, second.job_id)
    run.slurm.end(run.slurm.jobs[0], "COMPLETED")  # it found the claim, and ended
    assert run.present().action is not Action.RESUBMIT
    assert (run.attempt().job_id, run.attempt().state) == (second.job_id, "RUNNING")
    assert second.job_id in run.attempt().stdout
    assert len(run.slurm.jobs) == 2


def test_one_who_waits_for_a_job_goes_on_with_the_one_that_works(run: Run) -> None:
    run.present()
    second = twin(run)

    def first_finds_the_claim() -> None:
        run.slurm.run(second)
        claim(run, second.job_id)
        run.slurm.end(run.slurm.jobs[0], "COMPLETED")

    run.clock.after(10, first_finds_the_claim)
    run.clock.after(100, lambda: run.slurm.end(second, "FAILED", "3:0"))
    outcome = conclude(run.stage(), 1, 1000)
    assert f"Job {second.job_id} ended as FAILED with exit code 3" in outcome.problem
    assert run.attempt().phase is Phase.FAILED
    assert run.clock.monotonic() >= 100


def test_the_one_that_works_is_stopped(run: Run) -> None:
    run.present()
    second = twin(run)
    run.slurm.run(second)
    claim(run, second.job_id)
    run.slurm.end(run.slurm.jobs[0], "COMPLETED")
    outcome = absent(run.stage(), Only(), StopRule(), check=False)
    assert (outcome.action, second.state) == (Action.STOP, "CANCELLED by 2000")
