"""Durations as Slurm writes them."""

from __future__ import annotations

import math
import re
from typing import Mapping

_ENDLESS = ("unlimited", "infinite", "-1")
_PARTS = re.compile(r"(?:(\d+)-(\d+)(?::(\d+))?(?::(\d+))?|(\d+)(?::(\d+))?(?::(\d+))?)", re.ASCII)
_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def slurm_time(text: str) -> float:
    """The seconds of a time limit in any form that sbatch takes; math.inf for none.

    Minutes, M:S, H:M:S, D-H, D-H:M, D-H:M:S. Zero asks for no limit, as UNLIMITED does. Raises
    ValueError for anything else.
    """
    match = _PARTS.fullmatch(text)
    if text.lower() in _ENDLESS:
        return math.inf
    if not match:
        raise ValueError(text)
    days, *of_day, first, second, third = (int(part or 0) for part in match.groups())
    if match.group(1):
        hours, minutes, seconds = of_day
    elif match.group(7):
        hours, minutes, seconds = first, second, third
    else:
        hours, minutes, seconds = 0, first, second
    return float(days * 86400 + hours * 3600 + minutes * 60 + seconds) or math.inf


def time_limit_of(options: Mapping[str, str]) -> float | None:
    """The seconds that options of sbatch limit a job to; None if they do not, or not in a form of
    Slurm's."""
    try:
        return slurm_time(options["time"])
    except (KeyError, ValueError):
        return None


def in_words(seconds: float) -> str:
    """`5 days`, `1 hour 30 minutes`; `no limit` for math.inf."""
    if seconds == math.inf:
        return "no limit"
    words, rest = [], int(seconds)
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        words += [f"{count} {unit}" + ("" if count == 1 else "s")] if count else []
    return " ".join(words) or "0 seconds"


def explained(text: str) -> str:
    """A time limit as it was written, with what it comes to: `7200 minutes = 5 days`."""
    unit = (" minute" if text == "1" else " minutes") if text.isdecimal() and text != "0" else ""
    return f"{text}{unit} = {in_words(slurm_time(text))}"
