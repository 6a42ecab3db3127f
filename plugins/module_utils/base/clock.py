"""Time at one boundary, so that tests can use a clock of their own."""

from __future__ import annotations

import time


class Clock:
    """The real time: epoch seconds for records, and sleep."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never run backwards: for deadlines."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Sleep for `seconds`."""
        time.sleep(seconds)


class Deadline:
    """A point in time, on the clock that never runs backwards."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._end = clock.monotonic() + seconds

    def left(self) -> float:
        """Seconds that remain; 0.0 when it is over."""
        return max(0.0, self._end - self._clock.monotonic())

    def over(self) -> bool:
        """True once no time remains."""
        return self.left() <= 0.0

    def pause(self, seconds: float) -> None:
        """Sleep for `seconds`, but not beyond the deadline."""
        self._clock.sleep(min(seconds, self.left()))
