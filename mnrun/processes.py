"""The descendants of one of our processes: finding them, and ending them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NamedTuple

_POLL = 0.05
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SET_CHILD_SUBREAPER = 36  # of prctl(2)


class Process(NamedTuple):
    """A process, with its start time, because its id may be reused by another one later."""

    pid: int
    start: str


@contextmanager
def interrupted_by_signals(request: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Turn the signals that end a program into a request; ignored signals stay ignored."""
    before = {number: signal.getsignal(number) for number in _ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, request)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def orphans_adopted() -> Iterator[None]:
    """Have descendants whose parent ends become our children, so that they can still be found."""
    _adopt(1)
    try:
        yield
    finally:
        _adopt(0)


def _adopt(yes: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, yes)


def descendants(root: int) -> list[Process]:
    """Return the processes below `root`; none where there is no /proc.

    Without the daemons among its children: ssh's shared connections are to outlive their parent.
    """
    children: dict[int, list[Process]] = {}
    daemons = set()
    for folder in Path("/proc").glob("[0-9]*"):
        found = _stat(int(folder.name))
        if found:
            process, parent, daemon = found
            children.setdefault(parent, []).append(process)
            daemons |= {process} if daemon else set()
    tree = [process for process in children.get(root, []) if process not in daemons]
    for process in tree:
        tree.extend(children.get(process.pid, []))
    return tree


def await_end(processes: list[Process], overdue: Callable[[], bool]) -> None:
    """Wait until all of them have ended; once `overdue`, kill those that have not."""
    left = [process for process in processes if _alive(process)]
    while left and not overdue():
        time.sleep(_POLL)
        left = [process for process in left if _alive(process)]
    for process in left:
        send(process.pid, signal.SIGKILL)


def send(pid: int, number: int) -> None:
    """Send a signal to a process, if it is still there and ours."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _alive(process: Process) -> bool:
    found = _stat(process.pid)
    return found is not None and found[0] == process


def _stat(pid: int) -> tuple[Process, int, bool] | None:
    """Return a process, its parent's id, and whether it leads a session without a terminal.

    None when it has ended, or waits to be reaped.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field is the program's name in brackets, which may contain anything.
    state, parent, _group, session, terminal, *rest = text.rpartition(")")[2].split()
    daemon = (session, terminal) == (str(pid), "0")
    return None if state == "Z" else (Process(pid, rest[14]), int(parent), daemon)
