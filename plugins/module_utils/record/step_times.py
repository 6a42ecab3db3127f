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


def read_step_times(folder: Path, attempt: Attempt) -> StepTimes | None:
    """When steps of an attempt were seen; None if that is not known. Raises OSError."""
    data = parse_json(read_text(folder / f"steps-{attempt.number}.json") or "")
    if not isinstance(data, dict) or data.get("token") != attempt.token:
        return None
    first, last = _moment(data.get("first")), _moment(data.get("last"))
    return None if first is None or last is None or last < first else StepTimes(first, last)


def _moment(pair: Any) -> float | None:
    """The time in a pair of a step and a time."""
    if not isinstance(pair, list) or len(pair) != 2 or type(pair[1]) not in (int, float):
        return None
    return float(pair[1]) if 0 < pair[1] < _LATEST else None
