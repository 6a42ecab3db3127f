"""The line of a stage that is followed: what is known of it, at any moment, in any width."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mnrun.contract import StageLine
from mnrun.lines import duration
from mnrun.stages import metric
from mnrun.terminal import Terminal, width_of

State = Mapping[str, Any]

_SEEN = 20
"""Changes of the step by which the pace is measured."""

_MINUTE = 60.0
"""Seconds between two lines where lines cannot be replaced."""

_ANSWERS = 30.0
"""Seconds between two answers at most: steps may have been made that are not known yet."""

_BARS = (20, 10)
"""Widths of the bar, in columns."""

_LEAST = 12
"""Columns in which the end of a log's line says something."""

_ALWAYS, _ETA, _LIMIT, _BAR, _PACE, _SAVED, _NAME, _COST, _METRIC = range(9)
"""What goes first where there is no room for all: the last of these."""


class Part(NamedTuple):
    """A part of the line."""

    rank: int
    text: str


@dataclass
class Pace:
    """How long a step takes, by when its lines came."""

    seen: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_SEEN))
    attempt: int = 0

    def take(self, at: float, step: int | None, attempt: int) -> None:
        """Take in the step that was the last one at a moment."""
        if attempt != self.attempt or (self.seen and (step or 0) < self.seen[-1][1]):
            self.seen.clear()
        self.attempt = attempt
        if step is not None and (not self.seen or step > self.seen[-1][1]):
            self.seen.append((at, step))

    @property
    def seconds(self) -> float | None:
        """Seconds a step; None while that is not known. When the first one was made is not known:
        it may have been there for a while."""
        known = list(self.seen)[1:]
        if len(known) < 2:
            return None
        (begun, first), (ended, last) = known[0], known[-1]
        return (ended - begun) / (last - first)


class StageView:
    """One stage that is followed. `now` is in seconds of a monotonic clock."""

    def __init__(self, about: StageLine, now: float) -> None:
        self.stage = about.stage
        self._pace = Pace()
        self.take(about, now)

    def take(self, about: StageLine, now: float) -> None:
        """Take in what is new of it."""
        self.plain, self._at = about.text, now
        self._state: State = about.state or {}
        self._job: State = self._state.get("job") or {}
        self._progress: State = self._state.get("progress") or {}
        self._timing: State = self._state.get("timing") or {}
        if about.state:
            step = None if self._progress.get("doing") else self._progress.get("step")
            self._pace.take(now, step, int(self._state.get("attempt") or 0))

    @property
    def phase(self) -> tuple[object, ...]:
        """Changes whenever something else than progress is new."""
        names = ("id", "state", "reason")
        known = (self._state.get("known"), *(self._job.get(name) for name in names))
        return known if self._state else (self.plain,)

    @property
    def ticks(self) -> bool:
        """Whether there is more to say of it than its plain text."""
        live = self._job.get("phase") in ("queued", "running")
        return live and bool(self._state.get("known"))

    @property
    def twentieths(self) -> int:
        """How far it is, in 5 %."""
        step, total = self._progress.get("step"), self._progress.get("total")
        return 20 * (step or 0) // total if total else 0

    def record(self, now: float) -> str:
        """All of it, as a line that stays."""
        parts = [*self._times(now), *self._cost(now)] if self.ticks and not self._queued else []
        return " · ".join([f"  [{self.stage}] {self.plain}", *(part.text for part in parts)])

    def fitting(self, now: float, columns: int) -> str:
        """As much of it as fits in a line: what matters least goes first."""
        if not self.ticks:
            return f"  [{self.stage}] {self.plain}"
        for rank in range(_METRIC, -1, -1):
            for bar in _BARS if rank >= _BAR else (0,):
                parts = [part for part in self._parts(now, bar) if part.rank <= rank]
                text = self._joined(parts)
                if width_of(text) <= columns:
                    return self._filled(text, columns)
        return text

    def _joined(self, parts: list[Part]) -> str:
        together = (_ALWAYS, _NAME, _BAR)
        head = " ".join(part.text for part in parts if part.rank in together)
        rest = [part.text for part in parts if part.rank not in together]
        return " · ".join([f"  [{self.stage}] {head}", *rest])

    def _filled(self, text: str, columns: int) -> str:
        """With what the job does, or why it waits, where there is room."""
        more = self._state.get("why") if self._queued else self._doing
        room = columns - width_of(text) - 3
        return f"{text} · {more}" if more and room >= _LEAST else text

    @property
    def _queued(self) -> bool:
        return bool(self._job.get("phase") == "queued")

    @property
    def _doing(self) -> str:
        return str(self._progress.get("doing") or self._state.get("last_line") or "")

    def _parts(self, now: float, bar: int) -> Iterator[Part]:
        yield Part(_NAME, f"job {self._job.get('id')}")
        yield Part(_ALWAYS, str(self._job.get("state")))
        step, total = self._progress.get("step"), self._progress.get("total")
        if total and bar:
            done = min(bar, bar * (step or 0) // total)
            yield Part(_BAR, "━" * done + "─" * (bar - done))
        if step is None and not total:
            seconds = float(self._state.get("seconds") or 0.0)
            yield Part(_ALWAYS, duration(seconds + now - self._at))
        else:
            yield Part(_ALWAYS, f"{step or 0}/{total}" if total else f"step {step}")
        yield from self._waits(now) if self._queued else self._times(now)
        for text in metric(self._progress.get("metrics") or {}):
            yield Part(_METRIC, text)
        yield from self._cost(now)

    def _waits(self, now: float) -> Iterator[Part]:
        expected, there = self._timing.get("expected"), self._timing.get("now")
        if expected and there:
            left = max(0.0, expected - there - (now - self._at))
            at = time.strftime("%H:%M", time.localtime(time.time() + left))
            yield Part(_ETA, f"starts about {at} (in {duration(left)})")

    def _times(self, now: float) -> Iterator[Part]:
        timing, passed = self._timing, now - self._at
        pace = None if self._progress.get("doing") else self._pace.seconds
        pace = pace or timing.get("step_seconds")
        left = self._left(pace, now)
        if left is not None:
            yield Part(_ETA, f"ETA {duration(left)}")
        if timing.get("limit") and timing.get("since"):
            rest = timing["since"] + timing["limit"] - timing["now"] - passed
            yield Part(_LIMIT, f"limit in {duration(rest)}")
        if pace:
            yield Part(_PACE, f"{pace:.3g} s/step")
        if timing.get("saved"):
            yield Part(_SAVED, f"saved {duration(timing['now'] - timing['saved'] + passed)} ago")

    def _cost(self, now: float) -> Iterator[Part]:
        hours, gpus = self._timing.get("gpu_hours"), self._timing.get("gpus") or 0
        if hours is not None and not self._queued:
            yield Part(_COST, f"{hours + gpus * (now - self._at) / 3600:.1f} GPU-h")

    def _left(self, pace: float | None, now: float) -> float | None:
        """Seconds until the last step; None if that is not known."""
        step, total = self._progress.get("step"), self._progress.get("total")
        if not pace or not total or step is None or self._progress.get("doing"):
            return None
        since = now - self._pace.seen[-1][0] if self._pace.seen else 0.0
        # What is overdue by more than that may stand still.
        return max(0.0, float((total - step) * pace - min(since, max(pace, _ANSWERS))))


class LiveLine:
    """Shows one stage after the other: on a terminal at the bottom, which ticks each second;
    elsewhere a line when its state is another, each minute, and each 5 %."""

    def __init__(self, terminal: Terminal, clock: Callable[[], float], verbose: bool) -> None:
        """`verbose`: each state that it was in stays on a terminal."""
        self._terminal, self._clock, self._verbose = terminal, clock, verbose
        self._view: StageView | None = None
        self._shown = 0.0
        self._shown_of: tuple[object, int] = ((), 0)
        self._behind = False

    @property
    def active(self) -> bool:
        """Whether a stage is shown now."""
        return self._view is not None

    def take(self, about: StageLine) -> None:
        """Take in what is new of a stage."""
        if self._view and self._view.stage != about.stage:
            self.end()
        now, before = self._clock(), self._view.phase if self._view else None
        if self._view:
            self._view.take(about, now)
        else:
            self._view = StageView(about, now)
        if self._terminal.live:
            if self._verbose and before not in (None, self._view.phase):
                self._terminal.keep()
            self._draw(self._view, now)
        else:
            self._behind = True
            self._print_if_due(self._view, now)

    def tick(self) -> None:
        """A second has passed."""
        if self._view and self._terminal.live:
            self._draw(self._view, self._clock())
        elif self._view and self._view.ticks:
            self._print_if_due(self._view, self._clock())

    def end(self) -> None:
        """Leave the last state of the stage behind, once."""
        if self._view and self._terminal.live:
            self._terminal.keep()
        elif self._view and self._behind:
            self._print(self._view, self._clock())
        self._view, self._shown_of = None, ((), 0)

    def _draw(self, view: StageView, now: float) -> None:
        self._terminal.bottom(view.fitting(now, self._terminal.columns - 1), view.record(now))

    def _print_if_due(self, view: StageView, now: float) -> None:
        phase, twentieths = self._shown_of
        further = view.ticks and view.twentieths > twentieths
        if phase != view.phase or further or (view.ticks and now - self._shown >= _MINUTE):
            self._print(view, now)

    def _print(self, view: StageView, now: float) -> None:
        self._shown, self._behind = now, False
        self._shown_of = (view.phase, view.twentieths)
        self._terminal.line(view.record(now))
