"""The end of an attempt: waits for it, records it, and reports it with its cause."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from ..base.clock import Deadline
from ..base.errors import Invalid
from ..base.fingerprint import fingerprint
from ..base.host import host_name
from ..base.text import duration, sentence
from ..record.contract import Attempt, Backend, Observation, Phase, Record
from ..record.job_report import claimed_by_another
from ..record.stopped import read_stopped
from ..result.verify import as_result, finished, settle
from ..trainer.telling import Telling, behind_last_step, find_telling
from ..trainer.words import words
from . import cause
from .context import Stage
from .decide import Action, ending
from .outcome import Outcome
from .save_interval import allowed, is_fruitless, is_open, seconds_a_step, steps_between
from .snapshot import look_at
from .successor import Verdict, verdict
from .watch import wait_until_ended


def conclude(stage: Stage, number: int, limit: float) -> Outcome:
    """Wait up to `limit` seconds for attempt `number` and settle it. Never submits.

    A job that failed, or did not end in time, is reported in the outcome's `problem`.
    """
    folder = stage.ledger.folder(fingerprint(stage.request.spec))
    record, attempt = _find(stage, number)
    deadline = Deadline(stage.clock, limit)
    while not attempt.settled:
        seen = wait_until_ended(stage.backend, folder, attempt, stage.clock, deadline)
        if seen is None:
            still = _still(attempt)
            return Outcome(Action.ATTACH, still, record, folder, attempt, problem=still)
        if not _write_end(stage, attempt, seen):
            break
        record, attempt = _find(stage, number)
    return _outcome(stage, number)


def _write_end(stage: Stage, attempt: Attempt, seen: Observation) -> bool:
    """Settle an attempt; or, if another job of it does the work, continue with that one. False if
    somebody else has settled it."""
    key = fingerprint(stage.request.spec)
    with stage.ledger.lock():
        record = _record(stage)
        now = record.open_attempt if record else None
        if record is None or now is None or now.number != attempt.number:
            return False
        if not now.job_id:  # the record was written over
            now = record.attempts[-1] = attempt
        if claimed_by_another(stage.ledger.folder(key), now):
            look_at(stage.backend, stage.ledger, record, now)
        else:
            settle(record, seen, stage.request.rule)
            _note_lost_nodes(stage, record.attempts[-1])
        stage.ledger.save(record)
    return True


def _note_lost_nodes(stage: Stage, attempt: Attempt) -> None:
    """While they are still known: a node may be back before the next query."""
    if attempt.phase in (Phase.FAILED, Phase.GONE):
        attempt.lost_nodes = ",".join(stage.backend.lost_nodes(attempt))


def _record(stage: Stage) -> Record | None:
    key = fingerprint(stage.request.spec)
    return next((one for one in stage.ledger.records() if one.fingerprint == key), None)


def _find(stage: Stage, number: int) -> tuple[Record, Attempt]:
    """The attempt with its job, which is searched for if the record does not name it: without a
    working lock, another controller may have written the record over."""
    record = _record(stage)
    last = record.last if record else None
    if record and last and last.number == number and not (last.job_id or last.settled):
        look_at(stage.backend, stage.ledger, record, last)
    for attempt in record.attempts if record else []:
        if record and attempt.number == number and attempt.job_id:
            return record, attempt
    name = stage.request.stage
    raise Invalid(f"The stage {name} has no job of attempt {number} with these options.")


def _outcome(stage: Stage, number: int) -> Outcome:
    record, attempt = _find(stage, number)
    outcome = Outcome(
        Action.NOTHING,
        f"{sentence(ending(attempt))}.",
        record=record,
        folder=stage.ledger.folder(record.fingerprint),
        attempt=attempt,
    )
    output = finished(stage.request.rule, record)
    if output and output.whole:
        outcome.output = as_result(record, output)
        if attempt.phase is not Phase.SUCCEEDED:
            outcome.why += " Its result is complete all the same, so the stage is done."
        return outcome
    if output:
        outcome.why += f" Its result is not complete: {'; '.join(output.faults[:3])}."
        outcome.cause = cause.Cause.SHORT if output.short else cause.Cause.RESULT
    found = _explain(outcome, record, attempt, stage.backend)
    again = bool(outcome.stopped and outcome.stopped.again and found is cause.Cause.DIVERGED)
    judged = verdict(stage.request, record, attempt, found, again)
    outcome.retryable = judged.retryable
    outcome.problem = _problem(outcome, judged)
    return outcome


def explained(backend: Backend, folder: Path, record: Record, attempt: Attempt) -> Outcome:
    """Why an attempt ended without a result, by its record, its log and its scheduler, without
    judging whether it is retried. Changes nothing."""
    why = f"{sentence(ending(attempt))}."
    seen = replace(attempt)  # what is found out about it is not recorded here
    outcome = Outcome(Action.NOTHING, why, record=record, folder=folder, attempt=seen)
    _explain(outcome, record, seen, backend)
    outcome.problem = _problem(outcome, Verdict(False))
    return outcome


def _explain(outcome: Outcome, record: Record, attempt: Attempt, backend: Backend) -> cause.Cause:
    """Find the cause, unless it is known, and the lines of the log that show it."""
    outcome.telling = find_telling(attempt.log_paths, record.trainer)
    outcome.stopped = read_stopped(outcome.folder, attempt) if outcome.folder else None
    found = outcome.cause
    if found is None or attempt.cancelled_by:
        evidence = _evidence(backend, outcome, attempt)
        found = outcome.cause = cause.find(evidence)
        # A node may be reported as down only now, after the attempt was settled.
        attempt.lost_nodes = attempt.lost_nodes or ",".join(evidence.lost_nodes)
    if found in _FROM_OUTSIDE:
        outcome.telling = None
    return found


def _evidence(backend: Backend, outcome: Outcome, attempt: Attempt) -> cause.Evidence:
    enclosing: Observation | None = backend.enclosing_end(attempt)
    lost = [name for name in attempt.lost_nodes.split(",") if name]
    trainer = outcome.record.trainer if outcome.record else {}
    return cause.Evidence(
        attempt,
        enclosing,
        tuple(lost or (backend.lost_nodes(attempt) if enclosing else ())),
        outcome.telling.line if outcome.telling else "",
        tuple(behind_last_step(attempt.log_paths, trainer)),
        tuple((one["pattern"], one["cause"]) for one in trainer.get("causes") or ()),
        outcome.stopped.cause if outcome.stopped else "",
    )


def _problem(outcome: Outcome, judged: Verdict) -> str:
    """One readable text: what happened, where to look, what went wrong, why, and what to do."""
    lines = [" ".join([outcome.why, *_what_comes(outcome, judged)]), *_logs(outcome)]
    if outcome.telling:
        lines += _errors(outcome.telling)
    lines += _reasons(outcome)
    lines += _seen(outcome)
    if outcome.advice and not outcome.retryable:
        lines.append(f"What to do: {outcome.advice}")
    return "\n".join(lines)


def _logs(outcome: Outcome) -> list[str]:
    if outcome.telling:
        return [f"Log: {outcome.telling.path}"]
    paths = outcome.attempt.log_paths if outcome.attempt else []
    if not paths:
        return []
    listed = ", ".join(map(str, paths))
    what = "Log" if outcome.cause in _FROM_OUTSIDE else "The logs are empty or missing"
    return [f"{what}: {listed}"]


def _errors(telling: Telling) -> list[str]:
    """The error, and what it led to."""
    first, *others = telling.chain or (telling.line,)
    return [first, *(f"  which led to {other}" for other in others)] if first else []


# The log then only shows how the trainer reacted.
_FROM_OUTSIDE = (
    cause.Cause.TIME_LIMIT,
    cause.Cause.PREEMPTED,
    cause.Cause.CANCELLED,
    cause.Cause.CANCELLED_HERE,
    cause.Cause.RAY_STOPPED,
    cause.Cause.STALLED,
    cause.Cause.DIVERGED,
)
# Where it happened matters: another node may have what this one lacks.
_OF_A_NODE = (
    cause.Cause.GPU,
    cause.Cause.GPU_BUILD,
    cause.Cause.GPU_PROGRAM,
    cause.Cause.GPU_MEMORY,
    cause.Cause.MEMORY,
    cause.Cause.KILLED,
    cause.Cause.DISK,
    cause.Cause.IMPORT,
)
_NAMED = "NodeError: "  # how mnrun's own programs in jobs name a node


def _seen(outcome: Outcome) -> list[str]:
    """What the job saw before it ended the training, and where its evidence is."""
    stopped = outcome.stopped
    if not stopped or not outcome.cause or outcome.cause.code != stopped.cause:
        return []
    where = f"{outcome.folder}/{', '.join(stopped.evidence)}"
    return [stopped.text, *([f"Evidence: {where}"] if stopped.evidence else [])]


def _reasons(outcome: Outcome) -> list[str]:
    if outcome.cause is None or outcome.cause is cause.Cause.TRAINER:
        return []
    where = outcome.attempt.lost_nodes if outcome.attempt else ""
    if outcome.stopped and outcome.cause.code == outcome.stopped.cause:
        where = outcome.stopped.where
    telling = outcome.telling
    if telling and (outcome.cause in _OF_A_NODE or telling.line.startswith(_NAMED)):
        where = where or host_name(telling.node)
    return [f"Cause: {outcome.cause.title}{f' ({where})' if where else ''}."]


def _what_comes(outcome: Outcome, judged: Verdict) -> list[str]:
    step = outcome.attempt.last_step if outcome.attempt else None
    reached = outcome.attempt.reached if outcome.attempt else None
    advice = _save_more_often(outcome)
    if judged.retryable:
        where = f"resumes from step {step}" if step else f"starts over: {_why_over(outcome)}"
        if step and reached and reached > step:
            where += f"; step {reached} had been reached"
        where += f". {advice}" if advice else ""
        if outcome.cause is cause.Cause.SHORT:
            where = f"resumes from a checkpoint before step {step}"
        return [f"The next attempt {where}."]
    notes = [judged.why_not] if judged.why_not else []
    notes += [f"{advice}."] if advice else []
    if step:
        notes.append(f"The newest complete checkpoint is step {step}; a re-run resumes there.")
    return notes


def _save_more_often(outcome: Outcome) -> str:
    """How often to save so that a time limit costs little; empty if this one did not cost more."""
    attempt, trainer = outcome.attempt, outcome.record.trainer if outcome.record else {}
    every = trainer.get("save_every") or {}
    if attempt is None or not every or outcome.cause is not cause.Cause.TIME_LIMIT:
        return ""
    lost = (attempt.reached or 0) - (attempt.last_step or 0)
    each, limit = seconds_a_step(attempt), allowed(trainer)
    steps = steps_between(trainer, attempt)
    if not steps or words(trainer).starts_over:
        return ""
    if each * lost <= limit and not is_fruitless(attempt):
        return ""
    cost = f"About {duration(each * lost)} of work were lost"
    if is_open(trainer):
        return f"{cost}; the next attempt saves every {steps} steps ({every['option']})"
    other = "" if every.get("same_training") else "; that starts a new training, so set it for one"
    most = min(limit, each * steps) if is_fruitless(attempt) else limit
    return f"{cost}; {every['option']}: {steps} loses at most {_minutes(most)}{other}"


def _minutes(seconds: float) -> str:
    """Whole minutes, rounded up."""
    minutes = math.ceil(seconds / 60)
    return f"{minutes} minute{'' if minutes == 1 else 's'}"


def _why_over(outcome: Outcome) -> str:
    trainer = outcome.record.trainer if outcome.record else {}
    over = words(trainer).starts_over
    return "this trainer does not resume" if over else "there is no checkpoint yet"


def _still(attempt: Attempt) -> str:
    return (
        f"wait_timeout is over, and job {attempt.job_id} is still {attempt.state}. It was left "
        "alone; run the same command again to re-attach."
    )
