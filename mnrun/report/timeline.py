"""The time line of a run as SVG: a bar for each attempt, cut by what the time was spent on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mnrun.lines import duration
from mnrun.report.markup import Safe, tag
from mnrun.report.spent import Row, Slice

WIDTH = 960
_LEFT, _RIGHT, _TOP, _BAR, _GAP = 130, 20, 8, 18, 8
_BREAK, _LONG = 0.03, 0.15
"""The width of a break, in which nothing was queued or ran, as a part of the time of work; and from
how long on it is drawn as one."""


@dataclass(frozen=True)
class Axis:
    """Time on a line, with what is longer than a break in which nothing was done cut out."""

    spans: list[tuple[float, float]]
    """Begin and end of each stretch of work."""

    @property
    def work(self) -> float:
        """Seconds in all stretches."""
        return sum(end - start for start, end in self.spans) or 1.0

    def at(self, moment: float) -> float:
        """Where a moment is drawn."""
        each = self.work * _BREAK
        whole, passed = self.work + each * (len(self.spans) - 1), 0.0
        for number, (start, end) in enumerate(self.spans):
            passed += min(max(moment - start, 0.0), end - start)
            passed += each if number and moment >= start else 0.0
        return _LEFT + passed / whole * (WIDTH - _LEFT - _RIGHT)


def axis(rows: Sequence[Row]) -> Axis:
    """Return the axis for these rows, which have a slice each."""
    spans: list[tuple[float, float]] = []
    slices = sorted((one for row in rows for one in row.slices), key=lambda one: one.start)
    work = sum(one.seconds for one in slices)
    for one in slices:
        if spans and one.start - spans[-1][1] <= work * _LONG:
            spans[-1] = (spans[-1][0], max(spans[-1][1], one.end))
        else:
            spans.append((one.start, one.end))
    return Axis(spans)


def timeline(rows: Sequence[Row]) -> Safe:
    """Return the time line of a run; of one without any attempt, nothing."""
    if not rows:
        return Safe("")
    line, stages = axis(rows), in_order(rows)
    height = _TOP + len(stages) * (_BAR + _GAP) + 34
    bars = (_stage(stage, number, rows, line) for number, stage in enumerate(stages))
    return tag(
        "svg",
        *_breaks(line, height),
        *(part for each in bars for part in each),
        *_moments(line, height),
        viewbox=f"0 0 {WIDTH} {height}",
        class_="timeline",
        role="img",
        aria_label=f"Time line of {', '.join(stages)}",
        xmlns="http://www.w3.org/2000/svg",
    )


def in_order(rows: Sequence[Row]) -> list[str]:
    """The stages by when they began; a Ray cluster before what runs in it."""
    first = {row.stage: row.slices[0].start for row in reversed(rows)}
    return sorted(first, key=lambda stage: first[stage])


def _stage(stage: str, number: int, rows: Sequence[Row], line: Axis) -> Iterator[Safe]:
    top = _TOP + number * (_BAR + _GAP)
    yield tag("text", stage, x=_LEFT - 8, y=top + _BAR / 2, class_="tick y")
    for row in rows:
        if row.stage == stage:
            yield from (_bar(row, one, top, line) for one in row.slices)


def _bar(row: Row, one: Slice, top: float, line: Axis) -> Safe:
    left, right = line.at(one.start), line.at(one.end)
    title = f"{row.stage}, attempt {row.attempt}: {one.kind}, {duration(one.seconds)}"
    return tag(
        "rect",
        tag("title", title),
        x=f"{left:.2f}",
        y=top,
        width=f"{max(right - left, 0.8):.2f}",
        height=_BAR,
        class_=f"kind {one.kind}",
    )


def _breaks(line: Axis, height: int) -> Iterator[Safe]:
    for (_start, end), (start, _end) in zip(line.spans, line.spans[1:], strict=False):
        left, right = line.at(end), line.at(start)
        text = f"nothing for {duration(start - end)}"
        yield tag("rect", tag("title", text), x=f"{left:.2f}", y=_TOP, height=height - 40,
                  width=f"{right - left:.2f}", class_="break")  # fmt: skip


def _moments(line: Axis, height: int) -> Iterator[Safe]:
    first, last = line.spans[0][0], line.spans[-1][1]
    same = time.strftime("%Y-%m-%d", time.localtime(first)) == time.strftime(
        "%Y-%m-%d", time.localtime(last)
    )
    ends = ((first, "start", True), (last, "end", not same))
    for moment, anchor, dated in ends:
        form = "%Y-%m-%d %H:%M:%S" if dated else "%H:%M:%S"
        text = time.strftime(form, time.localtime(moment))
        yield tag("text", text, x=f"{line.at(moment):.1f}", y=height - 10, class_=f"tick {anchor}")
