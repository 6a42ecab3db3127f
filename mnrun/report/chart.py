"""Curves of one metric as SVG: a line for each run, gaps where a value was no number, and marks
where an attempt resumed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mnrun.report.markup import Safe, joined, tag

Point = tuple[int, float | None]

WIDTH, HEIGHT = 480, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 14, 12, 34
_HUGE = 1e300
"""Beyond it, differences are not numbers any more."""


@dataclass(frozen=True)
class Line:
    """One run in a chart."""

    name: str
    place: int
    """Which of the runs it is, for its colour."""
    points: Sequence[Point]
    resumes: Sequence[tuple[int, int]] = field(default=())
    """Attempt, and the step that it began with."""


@dataclass(frozen=True)
class Scale:
    """Values of an axis, and where they are drawn."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Where a value is drawn."""
        low, high, value = (math.log10(x) if self.log else x for x in (self.low, self.high, value))
        part = (value - low) / (high - low) if high > low else 0.5
        return self.start + part * (self.end - self.start)


def finite(line: Line) -> list[tuple[int, float]]:
    """Return the points of a line that can be drawn."""
    return [
        (step, value)
        for step, value in line.points
        if value is not None and math.isfinite(value) and abs(value) < _HUGE
    ]


def scales(lines: Sequence[Line]) -> tuple[Scale, Scale]:
    """Return the scale of the steps and that of the values. There is at least one point."""
    points = [point for line in lines for point in finite(line)]
    steps, values = [step for step, _ in points], [value for _, value in points]
    log = min(values) > 0 and max(values) / min(values) > 100
    low, high = (min(values), max(values)) if log else _widened(min(values), max(values))
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    x = Scale(min(steps), max(*steps, min(steps) + 1), _LEFT, right)
    return x, Scale(low, high, bottom, _TOP, log)


def _widened(low: float, high: float) -> tuple[float, float]:
    room = (high - low) * 0.05 or abs(high) * 0.1 or 1.0
    return low - room, high + room


def ticks(scale: Scale, most: int = 5) -> list[float]:
    """Return round numbers within a scale."""
    if scale.log:
        first, last = math.ceil(math.log10(scale.low)), math.floor(math.log10(scale.high))
        every = max(1, (last - first) // most + 1)
        powers = [10.0**power for power in range(first, last + 1, every)]
        if len(powers) > 2:
            return powers
        fine = [each * 10.0**power for power in range(first - 1, last + 1) for each in (1, 2, 5)]
        return [one for one in fine if scale.low <= one <= scale.high]
    rough = (scale.high - scale.low) / most
    power = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
    step = next((each * power for each in (1, 2, 5) if each * power >= rough), 10 * power)
    first = math.ceil(scale.low / step)
    return [(first + n) * step for n in range(most + 2) if (first + n) * step <= scale.high]


def number(value: float) -> str:
    """Return a value in few characters."""
    return f"{0.0 if abs(value) < 1e-12 else value:.4g}"


def chart(title: str, lines: Sequence[Line]) -> Safe:
    """Return the chart of a metric, whose lines have at least one point that can be drawn."""
    x, y = scales(lines)
    label = f"{title} by step: {', '.join(line.name for line in lines)}"
    parts = [*_axes(x, y), *(part for line in lines for part in _drawn(line, x, y))]
    return tag(
        "svg",
        *parts,
        viewbox=f"0 0 {WIDTH} {HEIGHT}",
        class_="chart",
        role="img",
        aria_label=label,
        xmlns="http://www.w3.org/2000/svg",
    )


def _axes(x: Scale, y: Scale) -> Iterator[Safe]:
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    for value in ticks(y):
        at = f"{y.at(value):.1f}"
        yield tag("line", x1=_LEFT, x2=right, y1=at, y2=at, class_="grid")
        yield tag("text", number(value), x=_LEFT - 6, y=at, class_="tick y")
    for value in filter(float.is_integer, map(float, ticks(x, 6))):
        yield tag("text", f"{value:,.0f}", x=f"{x.at(value):.1f}", y=bottom + 15, class_="tick x")
    yield tag("line", x1=_LEFT, x2=right, y1=bottom, y2=bottom, class_="axis")
    yield tag("text", "step", x=right, y=HEIGHT - 4, class_="tick end")
    if y.log:
        yield tag("text", "log scale", x=_LEFT, y=HEIGHT - 4, class_="tick start")


def _drawn(line: Line, x: Scale, y: Scale) -> Iterator[Safe]:
    for attempt, step in line.resumes:
        if x.low <= step <= x.high:
            at = f"{x.at(step):.1f}"
            mark = tag("line", x1=at, x2=at, y1=_TOP, y2=HEIGHT - _BOTTOM, class_="resume")
            text = f"{line.name}: attempt {attempt} from step {step}"
            yield tag("g", tag("title", text), mark, class_=f"run{line.place}")
    path = joined(*_path(line, x, y))
    single = [_dot(step, value, x, y) for step, value in _alone(line)]
    curve = tag("path", d=path, class_="curve") if path else ""
    yield tag("g", curve, *single, class_=f"run{line.place}", data_points=len(finite(line)))


def _path(line: Line, x: Scale, y: Scale) -> Iterator[str]:
    pen = "M"
    drawn = dict(finite(line))
    for step, _value in line.points:
        if step not in drawn:
            pen = "M"
        else:
            yield f"{pen}{x.at(step):.1f} {y.at(drawn[step]):.1f}"
            pen = "L"


def _dot(step: int, value: float, x: Scale, y: Scale) -> Safe:
    return tag("circle", cx=f"{x.at(step):.1f}", cy=f"{y.at(value):.1f}", r=3, class_="dot")


def _alone(line: Line) -> Iterator[tuple[int, float]]:
    """Yield points that have no neighbour to draw a line to, and all of a curve that has few."""
    drawn = dict(finite(line))
    steps = [step for step, _value in line.points]
    for at, step in enumerate(steps):
        beside = (*steps[max(0, at - 1) : at], *steps[at + 1 : at + 2])
        if step in drawn and (len(steps) <= 12 or not any(one in drawn for one in beside)):
            yield step, drawn[step]
