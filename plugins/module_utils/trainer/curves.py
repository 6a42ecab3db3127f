"""The curves of a training: what all its attempts logged, in a size that can be sent and drawn.

A resumed attempt repeats steps that the one before it had made after its last checkpoint. Of these
the later attempt's count, as the result stands on them.
"""

from __future__ import annotations

import re
from typing import Any, Iterable, Iterator, Mapping, NamedTuple, Optional, Sequence, Tuple

from .log_reader import Step

Point = Tuple[int, Optional[float]]
"""A step and a value; None where the trainer logged one that is no finite number."""

_CHOICE = re.compile(r"([\w/.-]*)\(\?:([\w/.|-]+)\)([\w/.-]*)", re.ASCII)
_LITERAL = re.compile(r"[\w/.-]+", re.ASCII)


class Attempted(NamedTuple):
    """What one attempt logged."""

    number: int
    steps: Sequence[Step]


class Resume(NamedTuple):
    """Where an attempt took over."""

    attempt: int
    step: int  # the first that it made
    repeated: int  # steps that had been made before, and were made again


def with_every_metric(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """What a trainer prints, with the metrics that only a guard looks at. Where a pattern is a
    choice of names (the norm of actor and critic), each is a metric of its own."""
    log = trainer["log"]
    wide = {name: dict(one) for name, one in (log.get("metrics") or {}).items()}
    for name, pattern in (log.get("guard") or {}).items():
        if name not in wide:
            wide.update({title: {"name": one} for title, one in _apart(name, pattern)})
    return {**trainer, "log": {**log, "metrics": wide}}


def _apart(name: str, pattern: str) -> Iterator[tuple[str, str]]:
    choice = _CHOICE.fullmatch(pattern)
    if choice is None:
        yield name, pattern
        return
    before, names, after = choice.groups()
    for one in names.split("|"):
        literal = f"{before}{one}{after}"
        if _LITERAL.fullmatch(literal):
            yield literal, re.escape(literal)


def joined(attempts: Sequence[Attempted]) -> tuple[list[Step], list[Resume]]:
    """The steps that count, in order, and where attempts took over."""
    kept: list[Step] = []
    resumes: list[Resume] = []
    for attempt in attempts:
        # A trainer may validate before it makes a step: that repeats the one it resumes from.
        begin = next((one.number for one in attempt.steps if not one.validation), None)
        if begin is not None and kept:
            again = {one.number for one in kept if one.number >= begin}
            resumes.append(Resume(attempt.number, begin, len(again)))
        kept = [one for one in kept if begin is None or one.number < begin]
        known = {one.place for one in kept}
        kept += [one for one in attempt.steps if one.place not in known]
    return sorted(kept, key=lambda one: one.place), resumes


def curves(steps: Iterable[Step], most: int) -> dict[str, list[Point]]:
    """Each metric's values by step, `most` points of each at most; the first of several for one
    step."""
    found: dict[str, list[Point]] = {}
    for step in steps:
        logged: dict[str, float | None] = {**step.values, **dict.fromkeys(step.broken)}
        for name, value in logged.items():
            points = found.setdefault(name, [])
            if not points or points[-1][0] != step.number:
                points.append((step.number, value))
    return {name: thinned(points, most) for name, points in found.items()}


def thinned(points: list[Point], most: int) -> list[Point]:
    """At most about `most` of the points: the first and the last, and of each bucket in between the
    lowest, the highest and one that is no number, so that spikes and gaps remain."""
    if len(points) <= most:
        return points
    inner, count = points[1:-1], max(1, (most - 2) // 3)
    kept = [points[0]]
    for number in range(count):
        kept += _extremes(inner[number * len(inner) // count : (number + 1) * len(inner) // count])
    return [*kept, points[-1]]


def _extremes(bucket: Sequence[Point]) -> list[Point]:
    numbers = [(value, step) for step, value in bucket if value is not None]
    gap = next((point for point in bucket if point[1] is None), None)
    ends = [(step, value) for value, step in (min(numbers), max(numbers))] if numbers else []
    kept = {*ends, *([gap] if gap else [])}
    return sorted(kept, key=lambda point: point[0])
