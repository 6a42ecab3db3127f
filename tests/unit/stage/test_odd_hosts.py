"""Hosts that are not as they should be: a clock that is wrong, a node that cannot launch a job."""

from __future__ import annotations

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    NOT_SUBMITTED,
    Phase,
)
from ansible_collections.mnrun.train.plugins.module_utils.stage.absent import absent
from ansible_collections.mnrun.train.plugins.module_utils.stage.cause import Cause
from ansible_collections.mnrun.train.plugins.module_utils.stage.conclude import conclude
from ansible_collections.mnrun.train.plugins.module_utils.stage.decide import Action
from ansible_collections.mnrun.train.plugins.module_utils.stage.scope import Only
from ansible_collections.mnrun.train.plugins.module_utils.stage.stop import StopRule

from tests.helpers.crashes import claim, cut_off
from tests.helpers.stage_run import Run

YEAR = 365 * 86400.0


def ahead(run: Run, seconds: float) -> None:
    """Another host's clock is right again: what was written came from the future."""
    run.clock.time -= seconds


@pytest.mark.parametrize("seconds", [100.0, 3600.0, YEAR])
def test_an_intent_from_the_future_is_waited_out(
    run: Run, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    cut_off(run, monkeypatch)
    ahead(run, seconds)
    begun = run.clock.now()
    assert run.present().action is Action.SUBMIT
    assert 150 <= run.clock.now() - begun < 270
    assert [one.state for one in run.record().attempts] == [NOT_SUBMITTED, "PENDING"]


def test_one_can_be_cancelled(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_off(run, monkeypatch)
    ahead(run, YEAR)
    assert absent(run.stage(), Only(), StopRule(), check=False).action is Action.NOTHING


def test_its_job_is_found_in_the_accounting(run: Run) -> None:
    """The job's own times are right."""
    submitted = run.clock.now()
    run.clock.time += YEAR
    run.present()
    ahead(run, YEAR)
    run.job.submit = submitted
    run.slurm.end(run.job, "FAILED", "3:0")
    run.clock.sleep(1000)
    outcome = run.present()
    assert outcome.action is Action.RESUBMIT
    assert "ended as FAILED" in outcome.why


def test_a_job_from_the_future_is_asked_about_gently(run: Run) -> None:
    run.present()
    run.slurm.run(run.job)
    ahead(run, YEAR)
    run.job.start = run.clock.now()
    before = len(run.slurm.calls)
    conclude(run.stage(), 1, 3600)
    assert len(run.slurm.calls) - before < 200


def test_a_job_that_its_node_could_not_launch_is_not_done(run: Run) -> None:
    run.present()
    run.job.launches = False
    run.slurm.run(run.job)
    run.slurm.end(run.job, "COMPLETED")
    outcome = conclude(run.stage(), 1, 1000)
    assert "its script never began on osk-gpu94" in outcome.problem
    assert (outcome.cause, outcome.retryable) == (Cause.NODE, True)
    assert run.attempt().phase is Phase.FAILED
    assert run.attempt().lost_nodes == "osk-gpu94"
    assert run.present().action is Action.RESUBMIT


def test_what_it_recorded_may_come_late(run: Run) -> None:
    run.present()
    run.slurm.run(run.job)
    run.job.launches = False
    run.slurm.end(run.job, "COMPLETED")
    run.clock.after(30, lambda: claim(run, "12"))
    assert run.present().action is Action.NOTHING
