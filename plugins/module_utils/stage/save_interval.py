"""How often to save, by the time that steps of earlier attempts took, so that an end costs little.

Where a user leaves that open and the trainer cannot save when asked. It is no part of the spec: a
changed interval is the same training.
"""

from __future__ import annotations

from typing import Any, Mapping

from ..record.contract import Attempt, Record

SAVE_EVERY = "save_every"  # the file beside a job's script with the number of steps
_LOST = 600.0  # seconds of work that an end may cost, for records without a number of their own


def allowed(trainer: Mapping[str, Any]) -> float:
    """How many seconds of work an end may cost."""
    return float((trainer.get("save_every") or {}).get("seconds") or _LOST)


def _made(attempt: Attempt) -> int:
    """How many steps an attempt made."""
    return (attempt.reached or 0) - attempt.first_step


def is_fruitless(attempt: Attempt) -> bool:
    """Whether it ended without a new checkpoint."""
    return (attempt.last_step or 0) <= attempt.first_step


def seconds_a_step(attempt: Attempt) -> float:
    """With its start and its saves, so rather too long; 0 if it is not known."""
    made = _made(attempt)
    if made <= 0 or not attempt.start or not attempt.end:
        return 0.0
    return (attempt.end - attempt.start) / made


def steps_between(trainer: Mapping[str, Any], attempt: Attempt) -> int:
    """The steps between two checkpoints by what an attempt took; 0 if that is not known."""
    each = seconds_a_step(attempt)
    if not each:
        return 0
    steps = int(allowed(trainer) / each)
    # One that came to no checkpoint would have had two.
    return max(1, min(steps, _made(attempt) // 2) if is_fruitless(attempt) else steps)


def is_open(trainer: Mapping[str, Any]) -> bool:
    """Whether the interval is to be chosen here."""
    return bool((trainer.get("save_every") or {}).get("open"))


def chosen(record: Record) -> int:
    """The interval of the next attempt; 0 for the trainer's own."""
    if not is_open(record.trainer):
        return 0
    known = (steps_between(record.trainer, attempt) for attempt in reversed(record.attempts))
    return next(filter(None, known), 0)


def saves_in_time(record: Record, attempt: Attempt) -> bool:
    """Whether the next attempt saves within the time that one without a checkpoint had, as its own
    interval is chosen by it."""
    return is_open(record.trainer) and 0 < steps_between(record.trainer, attempt) <= _made(attempt)
