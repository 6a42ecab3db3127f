"""The end of an attempt: waited for, written down, and told with its cause."""

from __future__ import annotations

from .clock import Deadline
from .errors import Invalid
from .fingerprint import fingerprint
from .job import Attempt, Phase, Record
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
    key = fingerprint(stage.request.spec)
    folder = stage.ledger.folder(key)
    record, attempt = _find(stage, number)
    if not attempt.settled:
        deadline = Deadline(stage.clock, limit)
        seen = wait_until_ended(stage.backend, folder, attempt, stage.clock, deadline)
        if seen is None:
            said = _still(attempt)
            return Outcome(Action.ATTACH, said, record, folder, attempt, problem=said)
        with stage.ledger.lock():
            now = stage.ledger.load(key)
            if now and now.last and now.last.number == number:
                settle(now, seen, stage.request.checkpoints)
                stage.ledger.save(now)
    return _told(stage, number)


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
