"""Whether a training stands still: how long its steps usually take, and how long nothing has come.

Time is what passed while the observer itself ran, so neither a suspended job nor a changed clock
counts. What has not been seen yet and may take long (the first steps, the first save, the first
validation, the end) has `factor` times as long as anything else. Pure.
Standard library only, Python 3.8 or later: runs inside jobs.
"""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import NamedTuple

_WARM_UP = 4  # steps until their usual time is known: the first ones compile and fill caches
_RECENT = 99  # steps whose median is the usual time
_MEMORY = 999  # pauses of which the longest one may come again
_AGAIN = 2.0  # times the longest pause so far that the next one may take


class Rhythm(NamedTuple):
    """Steps between two saves and two validations. 0: only at the end; None: not known."""

    saves: int | None = None
    validates: int | None = None


class Pace:
    """The time between the signs of life of one training."""

    def __init__(self, floor: float, factor: float = 10.0, rhythm: Rhythm = Rhythm()) -> None:  # noqa: B008 - it is never changed
        """`floor`: seconds without a step that are never a stall. `factor`: how many times the
        usual time of a step are."""
        self._floor, self._factor, self._rhythm = floor, factor, rhythm
        self.quiet = 0.0  # seconds since the last sign
        self.steps = 0  # times that steps came, as several may come at once
        self.last: int | None = None  # the number of the last one
        self._stride = 1
        self._total: int | None = None
        self._gap = 0.0  # seconds since the last step
        self._gaps: deque[float] = deque(maxlen=_RECENT)
        self._pauses: deque[float] = deque(maxlen=_MEMORY)
        self._saving = self._has_saved = self._has_validated = False
        self.limit = self._limit()  # seconds without a sign after which it stands still

    def passes(self, seconds: float) -> None:
        """Time passes."""
        self.quiet += seconds
        self._gap += seconds

    def step(self, number: int, total: int | None = None, validated: bool = False) -> None:
        """The line of a step came, or several at once, of which `number` is the last."""
        if self.steps:
            self._pauses.append(self.quiet)
            self._gaps.append(self._gap)
            self._has_saved |= self._saving
            self._stride = max(1, number - (self.last or 0))
        self._has_validated |= validated
        self.steps += 1
        self.last, self._total = number, total
        self._saving = False
        self.quiet = self._gap = 0.0
        self.limit = self._limit()

    def sign(self) -> None:
        """A sign of life came that is not a step: the trainer prints what it loads, or writes a
        checkpoint."""
        if self.steps:
            self._pauses.append(self.quiet)
            self._saving = True
            self.limit = self._limit()
        self.quiet = 0.0

    @property
    def usual(self) -> float | None:
        """Seconds that a step takes; None while that is not known."""
        return median(self._gaps) if self.steps > _WARM_UP else None

    @property
    def stalled(self) -> bool:
        """Nothing came for longer than anything that is healthy takes."""
        return self.quiet > self.limit

    def _limit(self) -> float:
        gaps, pauses = self._gaps or [0.0], self._pauses or [0.0]
        is_new = self.steps <= _WARM_UP or self._may_be_new()
        least = self._floor * (self._factor if is_new else 1.0)
        return max(least, self._factor * median(gaps), _AGAIN * max(pauses))

    def _may_be_new(self) -> bool:
        """Whether something long may be under way that has not been seen yet."""
        if self._total is not None and (self.last or 0) + self._stride >= self._total:
            return True
        saves, validates = self._rhythm
        new_save = not self._has_saved and self._is_due(saves)
        return new_save or (not self._has_validated and self._is_due(validates))

    def _is_due(self, every: int | None) -> bool:
        """Whether one may fall between the last step and the next one."""
        if every is None:
            return True
        step = self.last or 0
        return (every > 0 and step % every + self._stride >= every) or bool(
            every and not step % every
        )
