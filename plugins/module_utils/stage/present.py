"""Carries out what decide.py decides, under the stage's lock.

The order of the steps makes a crash harmless: the checkpoint folder first (nothing is alive then),
the intent on disk, the submission, the job's id on disk.
"""

from __future__ import annotations

import math
import secrets
from dataclasses import replace

from ..base.errors import Invalid, Refused, Rejected, Uncertain, Unknown
from ..base.files import make_directory, write_atomic
from ..base.mounts import mounted_at
from ..record.contract import NOT_SUBMITTED, Attempt, Phase, Record
from ..record.intent import declare, withdraw
from ..record.job_report import give_up
from ..record.names import RELAYS
from ..record.stopped import read_stopped
from ..result.folder_owner import require_owner, take_ownership
from ..result.ownership import require_mounted, take_over
from ..result.space import require_space
from ..result.verify import as_result, newest_step, settle, stuck
from ..trainer.resume_point import RESUME, make_resumable, resume_folder
from .budget import require_budget
from .context import Stage
from .decide import UNKNOWN_GRACE, Action, Decision, abandoned, decide
from .diff import difference
from .forecast import forecast, require_consent
from .lineage import require_free
from .outcome import Outcome
from .rebuild import keep_request, mend
from .save_interval import SAVE_EVERY, chosen, is_open
from .snapshot import Facts, Look, gather
from .stop import BY_US, StopRule, stop_job
from .strays import signed, take_in

_REMEMBERED = 900.0  # seconds for which a failed node is left out
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0  # seconds between two attempts to get an answer


def plan(stage: Stage) -> Outcome:
    """What `present` would do, with nothing written. Raises what `present` would."""
    facts, decision = decided(stage, stage.clock.monotonic(), keep=False)
    outcome = replace(_outcome(stage, facts, decision), plan=forecast(stage, facts, decision))
    if decision.action.submits:
        require_consent(stage, facts, decision)
        _require_folder(stage, facts)
        require_space(stage.request.checkpoints, _record(stage, facts))
        require_budget(stage, _record(stage, facts))
        attempt = _new_attempt(stage, facts)
        outcome.attempt = None
        outcome.diff = difference(stage.request, stage.backend, stage.ledger, attempt)
        start = stage.backend.check(stage.ledger.folder(facts.key), attempt)
        outcome.plan = {**(outcome.plan or {}), "start": start}
    return outcome


def present(stage: Stage) -> Outcome:
    """Make sure that the stage is done, or being worked on, exactly once.

    Raises Refused, Rejected, Unknown, Damaged, Busy.
    """
    with stage.ledger.lock():
        notes = mend(stage.request, stage.backend, stage.ledger, stage.clock)
        begun = stage.clock.monotonic()
        while True:
            facts, decision = decided(stage, begun, keep=True)
            try:
                outcome = _carry_out(stage, facts, decision)
                return replace(outcome, notes=[*notes, *outcome.notes])
            except Uncertain:
                stage.clock.sleep(FIRST_PAUSE)  # an intent is on disk: look for its job


def save(stage: Stage, facts: Facts) -> bool:
    """Save the state of open attempts; an intent that led to no job is closed.

    False: the job of such an intent has just started, so the facts are out of date.
    """
    for look in [facts.mine, *facts.others]:
        if look and abandoned(look, facts):
            if not give_up(stage.ledger.folder(look.record.fingerprint), look.attempt, facts.now):
                return False
            look.attempt.phase, look.attempt.state = Phase.GONE, NOT_SUBMITTED
    for record in facts.touched:
        stage.ledger.save(record)
    return True


def decided(stage: Stage, begun: float, keep: bool) -> tuple[Facts, Decision]:
    """What to do, once that is known. `begun`: on the monotonic clock. `keep`: what was seen goes
    into the ledger. Raises Refused, Unknown."""
    pause = FIRST_PAUSE
    while True:
        waited = stage.clock.monotonic() - begun
        facts = gather(stage.request, stage.backend, stage.ledger, stage.clock.now(), waited)
        decision = decide(stage.request, facts)
        if keep and not save(stage, facts):
            continue
        if decision.action is Action.REFUSE:
            raise Refused(decision.why)
        if decision.action.submits:
            other = _instead(stage, facts, keep)
            if other and keep and other.action is Action.ADOPT:
                continue
            decision = other or decision
        if decision.action is not Action.WAIT:
            return facts, decision
        if stage.clock.monotonic() - begun > decision.patience:
            raise Unknown(decision.why)
        stage.clock.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


def _instead(stage: Stage, facts: Facts, keep: bool) -> Decision | None:
    """What to do instead of a submission, if there is, or may be, a live job without a record."""
    record = _record(stage, facts)
    try:
        found = take_in(stage, record)
    except Unknown as error:
        return Decision(Action.WAIT, error.message, patience=UNKNOWN_GRACE)
    if found and keep:
        stage.ledger.save(record)
    why = "A live job of the stage is missing from its record; it is attached to."
    return Decision(Action.ADOPT, why) if found else None


def _outcome(stage: Stage, facts: Facts, decision: Decision) -> Outcome:
    record, done = facts.record, decision.action is Action.NOTHING
    return Outcome(
        decision.action,
        decision.why,
        record=record,
        folder=stage.ledger.folder(facts.key),
        attempt=record.last if record else None,
        output=as_result(record, facts.output) if done and record and facts.output else None,
        faults=facts.output.faults if facts.output else [],
    )


def _carry_out(stage: Stage, facts: Facts, decision: Decision) -> Outcome:
    if not decision.action.submits:
        return _outcome(stage, facts, decision)
    request = stage.request
    require_consent(stage, facts, decision)
    record = _record(stage, facts)
    _require_folder(stage, facts)
    require_space(request.checkpoints, record)
    left = require_budget(stage, record)
    record.labels, record.trainer = dict(request.labels), dict(request.trainer)
    attempt = _new_attempt(stage, facts)
    diff = difference(request, stage.backend, stage.ledger, attempt)
    intent = _declare(stage, facts, record, attempt)
    try:
        notes = _prepare(stage, facts, record, attempt, decision.stop)
    except Exception:
        withdraw(stage.ledger.intents, intent)
        raise
    _submit(stage, record, attempt, intent)
    facts = replace(facts, record=record)
    notes += [left] if left else []
    return replace(_outcome(stage, facts, decision), notes=notes, diff=diff)


def _declare(stage: Stage, facts: Facts, record: Record, attempt: Attempt) -> int:
    """Write the attempt's intent, before anything is changed; returns its number. Raises Uncertain
    if another controller has submitted something since the facts were gathered."""
    number = facts.serial + 1
    if not declare(stage.ledger.intents, number, record, attempt):
        raise Uncertain("Another mnrun has just submitted a job of this stage.")
    return number


def _require_folder(stage: Stage, facts: Facts) -> None:
    """Raise Refused if the folder of the result is another run's, or needed as it is; Unknown if it
    cannot be seen."""
    request = stage.request
    for rule in (request.checkpoints, request.manifest):
        if rule:
            require_mounted(rule.path, _record(stage, facts))
            require_owner(rule.path, request.run_dir, request.stage)
    require_free(stage, facts.key)


def _prepare(
    stage: Stage, facts: Facts, record: Record, attempt: Attempt, stop: list[Look]
) -> list[str]:
    """Everything before the submission; returns notes for the user."""
    for rule in (stage.request.checkpoints, stage.request.manifest):
        if rule:
            take_ownership(rule.path, stage.request.run_dir, stage.request.stage)
    for look in stop:
        _end(stage, look)
    notes = _make_ready(stage, record, _useless_step(stage, facts))
    if attempt.exclude:
        notes.append(f"It excludes {attempt.exclude}, which failed.")
    attempt.first_step = newest_step(stage.request.rule, record)
    attempt.mount = mounted_at(stage.request.rule.path) if stage.request.rule else ""
    _save_attempt(stage, record, attempt)
    return notes


def _record(stage: Stage, facts: Facts) -> Record:
    request = stage.request
    return facts.record or Record(request.stage, request.kind, facts.key, request.spec)


def _end(stage: Stage, look: Look) -> None:
    """End the job with another spec that this one replaces."""
    folder = stage.ledger.folder(look.record.fingerprint)
    seen = stop_job(stage.backend, folder, look.attempt, StopRule(), stage.clock)
    settle(look.record, replace(seen, reason=f"{BY_US} to run other options"), stage.request.rule)
    stage.ledger.save(look.record)


def _new_attempt(stage: Stage, facts: Facts) -> Attempt:
    last = facts.record.last if facts.record else None
    number = last.number + 1 if last else 1
    name = stage.backend.attempt_name(stage.request.name, facts.key, number)
    attempt = Attempt(
        number,
        secrets.token_hex(8),
        name,
        intent_time=stage.clock.now(),
        exclude=",".join(_do_without(stage, last)) if last else "",
        # Those of a relay are counted by the stages that run in its allocation.
        gpus=0 if stage.request.stage in RELAYS else stage.request.gpus,
        time_limit=_finite(stage.request.time_limit),
    )
    return signed(stage, attempt)


def _finite(seconds: float | None) -> float | None:
    return seconds if seconds is not None and seconds < math.inf else None


def _do_without(stage: Stage, last: Attempt) -> list[str]:
    """The nodes that failed in the last attempt, if others are free.

    Only its successor does without them, and only if it comes soon: a node that is still down then
    gets no job from Slurm, and one that is back is like any other.
    """
    if last.end and stage.clock.now() - last.end > _REMEMBERED:
        return []
    lost = last.lost_nodes or ",".join(
        stage.backend.lost_nodes(last) if last.phase in (Phase.FAILED, Phase.GONE) else []
    )
    nodes = [name for name in lost.split(",") if name]
    return stage.backend.spare(nodes) if nodes else []


def _make_ready(stage: Stage, record: Record, skip: int) -> list[str]:
    """Prepare the folders that the job will write to; returns notes about them."""
    request = stage.request
    notes = []
    if request.checkpoints:
        notes = [
            take_over(request.checkpoints, record, stage.clock.now()),
            make_resumable(request.checkpoints, skip),
        ]
    for path in request.directories:
        make_directory(path)
    return [text for text in notes if text]


def _useless_step(stage: Stage, facts: Facts) -> int:
    """The step that must not be resumed from: a resume from it made no step and still exited
    successfully, or the training had diverged by then. 0 if none."""
    last = facts.record.last if facts.record else None
    stopped = read_stopped(stage.ledger.folder(facts.key), last) if last else None
    if stopped and stopped.since:
        return stopped.since
    return last.last_step or 0 if last and stuck(last, facts.output) else 0


def _save_attempt(stage: Stage, record: Record, attempt: Attempt) -> None:
    """All that the job needs, and the attempt as an intent in its record."""
    folder = stage.ledger.folder(record.fingerprint)
    make_directory(folder)
    for name, text in stage.backend.files(folder, attempt).items():
        write_atomic(folder / name, text)
    if stage.request.checkpoints:
        write_atomic(folder / RESUME, resume_folder(stage.request.checkpoints))
    if is_open(record.trainer):
        write_atomic(folder / SAVE_EVERY, str(chosen(record) or ""))
    keep_request(folder, stage.request)
    record.attempts.append(attempt)
    stage.ledger.save(record)


def _submit(stage: Stage, record: Record, attempt: Attempt, intent: int) -> None:
    """If the submission is refused, there is certainly no job, and the intent is withdrawn; after
    any other error it is kept, and its job is searched for."""
    try:
        attempt.job = stage.backend.submit(stage.ledger.folder(record.fingerprint), attempt)
    except (Rejected, Invalid):
        record.attempts.pop()
        stage.ledger.save(record)
        withdraw(stage.ledger.intents, intent)
        raise
    attempt.phase, attempt.state = Phase.QUEUED, "PENDING"
    stage.ledger.save(record)
