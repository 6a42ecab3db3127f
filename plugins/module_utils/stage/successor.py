"""Whether an attempt that ended is retried automatically while mnrun is attached. Pure."""

from __future__ import annotations

from typing import NamedTuple

from ..record.contract import Attempt, Phase, Record, Request
from ..trainer.words import words
from .cause import Cause
from .decide import fruitless
from .save_interval import is_fruitless, saves_in_time


class Verdict(NamedTuple):
    """Whether it is retried automatically; if it could have been, but is not, why."""

    retryable: bool
    why_not: str = ""


def verdict(
    request: Request, record: Record, attempt: Attempt, cause: Cause, again: bool = False
) -> Verdict:
    """Whether an attempt that ended is retried. `again`: the job itself says that it is to be,
    once, as the user named other options for that.

    Failures that are not the training's own are retried automatically: time limit, preemption, a
    lost node or Ray cluster. Bounded by progress and by the number of attempts."""
    if not (cause.passing or again) or request.service:
        return Verdict(False)
    if record.last and record.last.number > attempt.number:
        return Verdict(True)  # somebody else has retried already: join in
    fruitful = not is_fruitless(attempt)
    if cause is Cause.SHORT:
        # Once, from an earlier checkpoint: if that ends short too, our expectation may be wrong.
        ended_well = [one for one in record.attempts if one.phase is Phase.SUCCEEDED]
        return Verdict(not fruitful and attempt.first_step > 0 and len(ended_well) == 1)
    starts_over = words(request.trainer).starts_over
    # Once, if the next one saves more often.
    differs = not starts_over and fruitless(record) == 1 and saves_in_time(record, attempt)
    if cause is Cause.TIME_LIMIT and not fruitful and not differs:
        why = "This trainer does not resume" if starts_over else "It produced no new checkpoint"
        return Verdict(
            False,
            f"{why}, and another attempt would end the same way, so it is not retried "
            "automatically.",
        )
    tried = fruitless(record)
    if tried >= request.max_attempts:
        return Verdict(
            False,
            f"{tried} attempts in a row brought no new checkpoint, so it is not retried "
            "automatically.",
        )
    return Verdict(True)
