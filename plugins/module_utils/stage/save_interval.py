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


def seconds_a_step(attempt: Attempt) -> float:
    """With its start and its saves, so rather too long; 0 if it is not known."""
    made = (attempt.reached or 0) - attempt.first_step
    if made <= 0 or not attempt.start or not attempt.end:
        return 0.0
    return (attempt.end - attempt.start) / made


def steps_between(trainer: Mapping[str, Any], each: float) -> int:
    """The steps between two checkpoints, if one step takes `each` seconds."""
    return max(1, int(allowed(trainer) / each))


def is_open(trainer: Mapping[str, Any]) -> bool:
    """Whether the interval is to be chosen here."""
    return bool((trainer.get("save_every") or {}).get("open"))


def chosen(record: Record) -> int:
    """The interval of the next attempt; 0 for the trainer's own."""
    if not is_open(record.trainer):
        return 0
    known = [each for each in map(seconds_a_step, record.attempts) if each]
    return steps_between(record.trainer, known[-1]) if known else 0
