"""In an unattended run, nothing is done over that ended for a reason of its own."""

from __future__ import annotations

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.stage.unseen import ended_unseen

from tests.helpers.stage_run import Run


def ended(run: Run, state: str) -> None:
    run.present()
    run.job.state = state
    run.job.end = run.clock.now()


@pytest.mark.parametrize("state", ["CANCELLED by 1000", "FAILED", "OUT_OF_MEMORY"])
def test_what_is_not_retried_automatically_is_reported(run: Run, state: str) -> None:
    handed_over = run.clock.now() - 10
    ended(run, state)
    found = ended_unseen(run.stage(), handed_over)
    assert found is not None
    assert found.problem
    assert len(run.slurm.jobs) == 1


def test_what_is_retried_automatically_is_looked_at_as_usual(run: Run) -> None:
    handed_over = run.clock.now() - 10
    ended(run, "NODE_FAIL")
    assert ended_unseen(run.stage(), handed_over) is None


def test_what_a_person_has_seen_is_tried_again(run: Run) -> None:
    ended(run, "CANCELLED by 1000")
    run.clock.sleep(100)
    assert ended_unseen(run.stage(), 0.0) is None
    assert ended_unseen(run.stage(), run.clock.now() - 10) is None


def test_the_first_attempt_is_submitted(run: Run) -> None:
    assert ended_unseen(run.stage(), run.clock.now()) is None
