"""What is reported of a training that stands still: a sentence, and its last lines by source.

Standard library only, Python 3.8 or later: runs inside jobs.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from observer_guard import Diverged, Guard
from observer_pace import Pace

_TAIL = 256 << 10  # bytes of the log
_LINES = 20  # of each source
_SOURCES = 64
_WIDTH = 300
_VALUES = 3  # steps whose values are shown
_MINUTES = 100.0  # seconds from which minutes are shown
# `(WorkerDict pid=2, ip=10.0.0.2) ` of Ray, `[rank3]:` of torch, `3: ` of srun --label.
_SOURCE = re.compile(r"(\([\w.]+ pid=\d+[^)]{0,80}\)|\[rank\d+\]:|\[default\d+\]:|\d{1,5}: )")
_COLOUR = re.compile(r"\x1b\[[0-9;]{0,12}m")


def summary(pace: Pace) -> str:
    """How long nothing came, and how long a step usually takes."""
    quiet = _duration(pace.quiet)
    if pace.usual is None:
        after = f"after step {pace.last}" if pace.steps else "before the first step"
        return f"Nothing came for {quiet} {after}."
    usual = _duration(pace.usual)
    return f"No step came for {quiet} after step {pace.last}; a step usually takes {usual}."


def diverged_summary(found: Diverged, guard: Guard) -> str:
    """Why it was ended, and the last values."""
    last = [_values(one) for one in list(guard.last)[-_VALUES:]]
    return f"{sentence(found.why)} Last values: {'; '.join(last)}."


def _values(one: dict[str, Any]) -> str:
    values = (f"{name} {_number(value)}" for name, value in one.items() if name != "step")
    return f"step {one['step']} {', '.join(values)}"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def sentence(text: str) -> str:
    """A text as a sentence."""
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def last_lines(log: str) -> dict[str, list[str]]:
    """The last lines of the log by rank or worker, where they say from which they are. Raises
    OSError."""
    with open(log, "rb") as stream:  # noqa: PTH123 - a link of /proc
        stream.seek(max(0, Path(log).stat().st_size - _TAIL))
        text = _COLOUR.sub("", stream.read(_TAIL).decode("utf-8", "replace"))
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        match = _SOURCE.match(line)
        source = match.group(1).strip() if match else "others"
        if source in found or len(found) < _SOURCES:
            found.setdefault(source, []).append(line[:_WIDTH])
    return {source: lines[-_LINES:] for source, lines in found.items()}


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"
