"""Which live jobs may be stopped: a Ray cluster in which somebody trains may not."""

from __future__ import annotations

import json

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    Attempt,
    Phase,
    Record,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.ledger import Ledger
from ansible_collections.mnrun.train.plugins.module_utils.stage.absent import absent
from ansible_collections.mnrun.train.plugins.module_utils.stage.decide import Action
from ansible_collections.mnrun.train.plugins.module_utils.stage.scope import Only
from ansible_collections.mnrun.train.plugins.module_utils.stage.stop import StopRule

from tests.helpers.stage_run import Run

KEY = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # of an empty spec


@pytest.fixture
def users(run: Run) -> Ledger:
    """The records of PPO, beside those of the job in which it runs."""
    run.present(labels={"owner": "ppo"})
    return Ledger(run.folder, "ppo", run.clock)


def used(ledger: Ledger, phase: Phase, head_job: str) -> None:
    attempt = Attempt(1, "token", "ppo-1", 0.0, phase, job_id="ppo-1", head_job=head_job)
    ledger.save(Record("ppo", "ray", KEY, {}, {}, [attempt], None))


def stopped(run: Run, users: Ledger, if_used: bool = False) -> bool:
    only = Only({"owner": "ppo"}, users, if_used)
    return absent(run.stage(), only, StopRule(), check=True).action is Action.STOP


def test_one_in_which_a_training_goes_on_stays(run: Run, users: Ledger) -> None:
    used(users, Phase.RUNNING, run.attempt().job_id)
    assert not stopped(run, users)


def test_one_whose_training_is_over_goes(run: Run, users: Ledger) -> None:
    used(users, Phase.FAILED, run.attempt().job_id)
    assert stopped(run, users)
    assert stopped(run, users, if_used=True)


def test_a_training_that_ended_without_a_controller_is_over(run: Run, users: Ledger) -> None:
    used(users, Phase.RUNNING, run.attempt().job_id)
    end = {"job_id": "ppo-1", "token": "token", "exit_code": 0, "start": 1, "end": 2}
    (users.folder(KEY) / "end-1.json").write_text(json.dumps(end))
    assert stopped(run, users)


def test_a_submission_that_may_be_under_way_keeps_it(run: Run, users: Ledger) -> None:
    used(users, Phase.UNKNOWN, "")
    assert not stopped(run, users)


def test_one_that_nobody_used_goes_only_with_whom_started_it(run: Run, users: Ledger) -> None:
    used(users, Phase.SUCCEEDED, "99")
    assert stopped(run, users)
    assert not stopped(run, users, if_used=True)


def test_one_of_another_owner_stays(run: Run, users: Ledger) -> None:
    only = Only({"owner": "user"}, users)
    assert absent(run.stage(), only, StopRule(), check=True).action is Action.NOTHING
