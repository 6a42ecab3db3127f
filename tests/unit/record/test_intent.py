"""Two controllers whose lock does not exclude: one submits, and the other finds its job."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import (
    Damaged,
    Refused,
    Rejected,
)
from ansible_collections.mnrun.train.plugins.module_utils.base.process import Result
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import JobRef
from ansible_collections.mnrun.train.plugins.module_utils.record.ledger import Ledger
from ansible_collections.mnrun.train.plugins.module_utils.slurm.backend import SlurmBackend
from ansible_collections.mnrun.train.plugins.module_utils.stage import present as acts
from ansible_collections.mnrun.train.plugins.module_utils.stage.absent import absent
from ansible_collections.mnrun.train.plugins.module_utils.stage.conclude import conclude
from ansible_collections.mnrun.train.plugins.module_utils.stage.decide import Action
from ansible_collections.mnrun.train.plugins.module_utils.stage.scope import Only
from ansible_collections.mnrun.train.plugins.module_utils.stage.stop import StopRule

from tests.helpers.crashes import Killed, arrive_late, claim, die, folder_of
from tests.helpers.stage_run import SPEC, Run

OTHER = {"lr": 0.2, "data": {"path": "train.parquet"}}
# Where the second controller comes in: before the call of the first one.
POINTS: list[tuple[Any, str]] = [
    (acts, "declare"),
    (acts, "make_directory"),
    (acts, "keep_request"),
    (SlurmBackend, "submit"),
]


@pytest.fixture
def unlocked(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(Ledger, "lock", lambda _self: nullcontext())
    return run


def before(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, act: Callable[[], None]) -> None:
    real = getattr(place, name)

    def late(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(place, name, real)
        act()
        return real(*arguments, **options)

    monkeypatch.setattr(place, name, late)


@pytest.mark.parametrize("spec", [SPEC, OTHER])
@pytest.mark.parametrize(("place", "name"), POINTS)
def test_the_second_of_two_without_a_lock_submits_no_job_beside_the_first_one_s(
    unlocked: Run, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, spec: dict[str, Any]
) -> None:
    def second() -> None:
        with suppress(Refused):
            unlocked.present(spec=spec)

    before(monkeypatch, place, name, second)
    with suppress(Refused):  # if the second one was first
        unlocked.present()
    # The second one waited until the first one's job could not appear any more. If it does all the
    # same, it finds its attempt given up, and ends.
    folder = folder_of(unlocked)
    given_up = [
        path for path in folder.parent.glob("*/start-*.json") if '"none"' in path.read_text()
    ]
    assert len(unlocked.slurm.jobs) - len(given_up) == 1


def test_the_second_one_attaches_to_a_job_that_is_not_in_the_record_yet(
    unlocked: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Action] = []
    submit = SlurmBackend.submit

    def slow(self: SlurmBackend, *arguments: Any) -> Any:
        job = submit(self, *arguments)
        shutil.rmtree(arguments[0])  # and even if the record was overwritten
        found.append(unlocked.present().action)
        return job

    monkeypatch.setattr(SlurmBackend, "submit", slow)
    unlocked.present()
    assert found == [Action.ADOPT]
    assert len(unlocked.slurm.jobs) == 1


def test_a_job_that_only_its_intent_knows_is_cancelled(run: Run) -> None:
    run.present()
    shutil.rmtree(folder_of(run))
    assert absent(run.stage(), Only(), StopRule(), check=False).action is Action.STOP
    assert run.job.state == "CANCELLED by 2000"


@pytest.mark.parametrize("late", [0, 1000])
def test_a_crash_after_the_intent_is_waited_out(
    run: Run, monkeypatch: pytest.MonkeyPatch, late: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(acts, "make_directory", die)
        with pytest.raises(Killed):
            run.present()
    begun = run.clock.monotonic()
    run.clock.sleep(late)
    assert run.present().action is Action.SUBMIT
    assert run.clock.monotonic() - begun >= 150
    assert [one.number for one in run.record().attempts] == [1, 2]


def test_a_refusal_withdraws_the_intent(run: Run) -> None:
    run.slurm.refusals = [Result(1, "", "sbatch: error: invalid partition specified: x")]
    with pytest.raises(Rejected):
        run.present()
    assert list(run.stage().ledger.intents.iterdir()) == []


def test_an_intent_that_cannot_be_read_is_not_passed_over(run: Run) -> None:
    run.present()
    (newest,) = run.stage().ledger.intents.iterdir()
    newest.write_text("")
    with pytest.raises(Damaged, match="Check with squeue"):
        run.present()


def test_a_claim_with_another_token_is_the_attempt_s(unlocked: Run) -> None:
    """Two jobs of one attempt, each with its token: the one that claimed it works."""
    unlocked.present()
    arrive_late(unlocked)
    second = unlocked.job
    second.comment = second.comment.rpartition("token=")[0] + "token=0fed"
    unlocked.slurm.run(second)
    claim(unlocked, second.job_id)
    path = folder_of(unlocked) / "start-1.json"
    path.write_text(path.read_text().replace(unlocked.attempt().token, "0fed"))
    unlocked.slurm.end(unlocked.slurm.jobs[0], "COMPLETED")
    assert unlocked.present().action is Action.ADOPT
    assert (unlocked.attempt().job_id, unlocked.attempt().token) == (second.job_id, "0fed")
    assert unlocked.present().action is Action.ATTACH


def test_a_record_that_was_written_over_does_not_lose_the_job_that_is_waited_for(
    unlocked: Run,
) -> None:
    unlocked.present()
    unlocked.slurm.run(unlocked.job)
    record = unlocked.record()
    unlocked.clock.after(100, lambda: unlocked.slurm.end(unlocked.job, "FAILED", "3:0"))
    record.attempts[0].job = JobRef("")
    unlocked.stage().ledger.save(record)
    assert "Job 12 ended as FAILED" in conclude(unlocked.stage(), 1, 1000).problem
    shutil.rmtree(folder_of(unlocked))
    assert "Job 12 ended as FAILED" in conclude(unlocked.stage(), 1, 1000).problem
