"""What ended while no one was there: it is not tried again, unless that is done automatically."""

from __future__ import annotations

from .conclude import conclude
from .context import Stage
from .decide import Action
from .outcome import Outcome
from .present import decided


def ended_unseen(stage: Stage, since: float) -> Outcome | None:
    """How the last attempt failed, if that happened after `since` (epoch seconds; 0: a person is
    there) and is not retried automatically. None if the stage is to be looked at as usual.

    Raises what `present` would."""
    if not since:
        return None
    facts, decision = decided(stage, stage.clock.monotonic(), keep=False)
    last = facts.record.last if facts.record else None
    if decision.action is not Action.RESUBMIT or last is None or not last.job_id:
        return None
    if last.end and last.end < since:
        return None
    outcome = conclude(stage, last.number, 1.0)
    return outcome if outcome.problem and not outcome.retryable else None
