"""The end of an attempt: waited for, written down, and told with its cause."""

from __future__ import annotations

from .clock import Deadline
from .end_record import claimed_by_another
from .errors import Invalid
from .facts import look_at
from .fingerprint import fingerprint
from .job import Attempt, Observation, Phase, Record
from .logs import find_cause
from .outcome import Outcome
from .output import as_result, log_paths, settle, verify
from .present import Stage
from .stage import Action, ending, sentence
from .waiter import wait_until_ended


def conclude(stage: Stage, number: int, limit: float) -> Outcome:
    """Wait up to `limit` seconds for attempt `number` and settle it. Never submits.

    A job that failed, or did not end in time, is told in the outcome's `problem`.
    """
    folder = stage.ledger.folder(fingerprint(stage.request.spec))
    record, attempt = _find(stage, number)
    deadline = Deadline(stage.clock, limit)
    while not attempt.settled:
        seen = wait_until_ended(stage.backend, folder, attempt, stage.clock, deadline)
        if seen is None:
            said = _still(attempt)
            return Outcome(Action.ATTACH, said, record, folder, attempt, problem=said)
        if not _write_end(stage, number, seen):
            break
        record, attempt = _find(stage, number)
    return _told(stage, number)


def _write_end(stage: Stage, number: int, seen: Observation) -> bool:
    """Settle an attempt; or, if another job of it does the work, go on with that one. False if it
    is not the newest any more: somebody else has settled it."""
    key = fingerprint(stage.request.spec)
    with stage.ledger.lock():
        record = stage.ledger.load(key)
        if not record or not record.last or record.last.number != number:
            return False
        if claimed_by_another(stage.ledger.folder(key), record.last):
            look_at(stage.backend, stage.ledger, record, record.last)
        else:
            settle(record, seen, stage.request.checkpoints)
        stage.ledger.save(record)
    return True


def _find(stage: Stage, number: int) -> tuple[Record, Attempt]:
    record = stage.ledger.load(fingerprint(stage.request.spec))
    for attempt in record.attempts if record else []:
        if record and attempt.number == number and attempt.job_id:
            return record, attempt
    raise Invalid(f"The stage {stage.request.stage} has no job of attempt {number} with this spec.")


def _told(stage: Stage, number: int) -> Outcome:
    record, attempt = _find(stage, number)
    outcome = Outcome(
        Action.NOTHING,
        f"{sentence(ending(attempt))}.",
        record=record,
        folder=stage.ledger.folder(record.fingerprint),
        attempt=attempt,
    )
    if attempt.phase is Phase.SUCCEEDED:
        output = verify(stage.request.checkpoints, record)
        if output.whole:
            outcome.output = as_result(record, output)
            return outcome
        outcome.why += f" Its result is not whole: {'; '.join(output.faults[:3])}."
    outcome.cause = find_cause(log_paths(attempt))
    outcome.problem = _problem(outcome)
    return outcome


def _problem(outcome: Outcome) -> str:
    """One readable text: what happened, the telling line, where to look."""
    text = outcome.why
    attempt, cause = outcome.attempt, outcome.cause
    if attempt and attempt.last_step:
        text += (
            f" The newest whole checkpoint is of step {attempt.last_step}; a re-run goes on there."
        )
    if cause and cause.line:
        text += f"\n{cause.line}"
    if cause:
        return f"{text}\nLog: {cause.path}"
    paths = ", ".join(str(path) for path in log_paths(attempt)) if attempt else ""
    return f"{text}\nIts logs are empty: {paths}" if paths else text


def _still(attempt: Attempt) -> str:
    return (
        f"The time to wait (wait_timeout) is over, and job {attempt.job_id} is still "
        f"{attempt.state}. It was left alone; run the same again to come back to it."
    )
