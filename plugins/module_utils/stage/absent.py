"""Makes sure that no job of a stage is alive."""

from __future__ import annotations

from dataclasses import replace

from ..base.errors import Unknown
from ..record.contract import Phase, Record
from ..result.verify import settle
from .context import Stage
from .decide import Action, unsettled
from .outcome import Outcome
from .present import LONGEST_PAUSE, save
from .rebuild import mend
from .scope import Only
from .snapshot import Facts, Look, gather
from .stop import BY_US, StopRule, stop_job
from .strays import refuse_strays


def absent(
    stage: Stage, only: Only, rule: StopRule, check: bool, cancelled_by: str = ""
) -> Outcome:
    """Stop the stage's live jobs, of any spec, that fit `only`. With `cancelled_by`, the record
    says who cancelled them, and none of them is retried automatically.

    Raises Unknown if a job does not end, or if it is unknown whether one is alive; Damaged if a
    record cannot be rebuilt with certainty.
    """
    notes = [] if check else _mended(stage)
    records = [record for record in stage.ledger.records() if record.open_attempt]
    ours = [record for record in records if only.fits(record)]
    if not ours and not check:
        refuse_strays(stage)
    if not ours:
        return Outcome(Action.NOTHING, _left_alone(records), notes=notes)
    if check:
        facts = gather(stage.request, stage.backend, stage.ledger, stage.clock.now())
        looks = [look for look in _looks(facts, only) if look.attempt.job_id]
        return _outcome(stage, looks, "Would stop")
    with stage.ledger.lock():
        looks = _answers(stage, only)
        for look in looks:
            _end(stage, look, rule, cancelled_by)
    return replace(_outcome(stage, looks, "Stopped"), notes=notes)


def _mended(stage: Stage) -> list[str]:
    """Rebuild damaged records, as the job of one may be alive."""
    if not stage.ledger.readable()[1]:
        return []
    with stage.ledger.lock():
        return mend(stage.request, stage.backend, stage.ledger, stage.clock)


def _answers(stage: Stage, only: Only) -> list[Look]:
    """The live jobs, as soon as they are known for certain."""
    begun = stage.clock.monotonic()
    while True:
        waited = stage.clock.monotonic() - begun
        facts = gather(stage.request, stage.backend, stage.ledger, stage.clock.now(), waited)
        if not save(stage, facts):
            continue
        looks = _looks(facts, only)
        live = [look for look in looks if look.observation.phase.live]
        others = (look for look in looks if not look.observation.phase.live)
        waiting = next((wait for look in others if (wait := unsettled(look, facts))), None)
        if waiting is None:
            return live
        if stage.clock.monotonic() - begun > waiting.patience:
            raise Unknown(waiting.why)
        stage.clock.sleep(LONGEST_PAUSE)


def _looks(facts: Facts, only: Only) -> list[Look]:
    looks = [*([facts.mine] if facts.mine else []), *facts.others]
    return [look for look in looks if only.fits(look.record)]


def _end(stage: Stage, look: Look, rule: StopRule, cancelled_by: str) -> None:
    record = look.record
    folder = stage.ledger.folder(record.fingerprint)
    if cancelled_by:
        look.attempt.cancelled_by = cancelled_by  # first, as others may notice the end
        stage.ledger.save(record)
    seen = stop_job(stage.backend, folder, look.attempt, rule, stage.clock)
    if seen.phase is Phase.CANCELLED:
        seen = replace(seen, reason=cancelled_by or BY_US)
    settle(record, seen, stage.request.rule)
    stage.ledger.save(record)


def _outcome(stage: Stage, looks: list[Look], verb: str) -> Outcome:
    if not looks:
        return Outcome(Action.NOTHING, "The stage has no running job any more.")
    record = looks[-1].record
    jobs = ", ".join(look.attempt.job_id for look in looks)
    return Outcome(
        Action.STOP,
        f"{verb}: job {jobs}.",
        record=record,
        folder=stage.ledger.folder(record.fingerprint),
        attempt=record.last,
    )


def _left_alone(records: list[Record]) -> str:
    """`records` have a live job that must not be stopped."""
    jobs = ", ".join(record.last.job_id or record.last.name for record in records if record.last)
    if not jobs:
        return "The stage has no running job."
    return f"Job {jobs} was left alone: it is in use, or has another purpose."
