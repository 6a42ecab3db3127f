"""Several commands at once, each a process of its own with a log of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from mnrun.processes import interrupted_by_signals, send

_TICK = 0.2  # seconds
_TIED = str(Path(__file__).with_name("tied.py"))
_READ = 64 * 1024  # bytes of a log


class Child(NamedTuple):
    """A command of one run, which SIGINT interrupts."""

    run: str
    argv: Sequence[str]
    log: Path


class Ended(NamedTuple):
    """How a command ended."""

    run: str
    code: int
    """Its exit code; minus the signal that killed it."""
    seconds: float
    output: str
    """The end of what it wrote."""


@dataclass
class _Started:
    child: Child
    process: subprocess.Popen[bytes]
    start: float
    offset: int
    """Bytes of the log that were there before."""
    interrupted: int = 0
    """How often it was."""


@dataclass
class Drive:
    """Runs commands, at most `at_most` at once, until all have ended or it is interrupted."""

    at_most: int
    on_end: Callable[[Ended], None] = lambda _: None
    on_tick: Callable[[Sequence[str], int], None] = lambda _running, _waiting: None
    stopped: Callable[[], bool] = lambda: False
    """True once no more are to be started, and those that run are to be interrupted."""
    number: int = 0
    """The signal that interrupted it; 0: none."""
    _requests: int = 0
    _running: list[_Started] = field(default_factory=list)

    def run(self, children: Sequence[Child]) -> list[Ended]:
        """Return how those ended that were started, in the order in which they ended."""
        waiting, ended = list(children), list[Ended]()
        with interrupted_by_signals(self._interrupt):
            while self._running or (waiting and not self._ending()):
                while waiting and len(self._running) < self.at_most and not self._ending():
                    self._running.append(_start(waiting.pop(0)))
                if not self.number and self.stopped():
                    self._interrupt(signal.SIGTERM)
                self._pass_on()
                ended += self._reap()
                self.on_tick([one.child.run for one in self._running], len(waiting))
                time.sleep(_TICK if self._running else 0)
        return ended

    def _ending(self) -> bool:
        return bool(self.number) or self.stopped()

    def _reap(self) -> Iterator[Ended]:
        for one in list(self._running):
            code = one.process.poll()
            if code is not None:
                self._running.remove(one)
                seconds = time.monotonic() - one.start
                ended = Ended(one.child.run, code, seconds, _written(one))
                self.on_end(ended)
                yield ended

    def _interrupt(self, number: int, _frame: FrameType | None = None) -> None:
        self.number = self.number or number
        self._requests += 1

    def _pass_on(self) -> None:
        """Interrupt each command, as often as it was requested: the second time it ends at once."""
        for one in self._running:
            for _ in range(one.interrupted, self._requests):
                send(one.process.pid, signal.SIGINT)
            one.interrupted = self._requests


def _start(child: Child) -> _Started:
    """Start a command that is interrupted when this process ends, however that happens."""
    with child.log.open("ab") as log:
        log.write(f"\n== {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())
        log.flush()
        offset = log.tell()
        process = subprocess.Popen(
            [sys.executable, "-IS", _TIED, str(os.getpid()), *child.argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a terminal's Ctrl-C comes to us alone
        )
    return _Started(child, process, time.monotonic(), offset)


def _written(one: _Started) -> str:
    with one.child.log.open("rb") as log:
        size = log.seek(0, os.SEEK_END)
        log.seek(max(one.offset, size - _READ))
        return log.read().decode(errors="replace")
