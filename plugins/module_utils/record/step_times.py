"""When a job made steps, according to itself: steps-<n>.json in its record's folder.

roles/sft/files/observer.py writes it, a few seconds behind.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from ..base.files import parse_json
from ..base.presence import read_text
from .contract import Attempt

_LATEST = 1e11  # seconds since the epoch


class StepTimes(NamedTuple):
    """When the first step was seen, and when the last one, in seconds since the epoch."""

    first: float
    last: float
    made: int  # between the two

    @property
    def each(self) -> float | None:
        """What one took, with validations and saves between them; None before the second."""
        return (self.last - self.first) / self.made if self.made else None


def read_step_times(folder: Path, attempt: Attempt) -> StepTimes | None:
    """When steps of an attempt were seen; None if that is not known. Raises OSError."""
    data = parse_json(read_text(folder / f"steps-{attempt.number}.json") or "")
    if not isinstance(data, dict) or data.get("token") != attempt.token:
        return None
    first, last = _seen(data.get("first")), _seen(data.get("last"))
    if first is None or last is None or last[1] < first[1] or last[0] < first[0]:
        return None
    return StepTimes(first[1], last[1], last[0] - first[0])


def _seen(pair: Any) -> tuple[int, float] | None:
    """A step, and when it was seen."""
    if not isinstance(pair, list) or len(pair) != 2:
        return None
    step, moment = pair
    right = type(step) is int and step >= 0 and type(moment) in (int, float)
    return (step, float(moment)) if right and 0 < moment < _LATEST else None
