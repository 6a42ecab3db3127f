"""What both sides of the Ray cluster need of processes, signals and log files.

Standard library only, Python 3.8 or later: runs inside the Slurm job, beside cluster.py.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO

_PR_SET_CHILD_SUBREAPER = 36


class Events:
    """Signals and open files as events to wait for: nothing is missed, nothing is polled."""

    def __init__(self, signals: Iterable[signal.Signals]) -> None:
        self._inbox, self._outbox = socket.socketpair()
        self._outbox.setblocking(False)
        signal.set_wakeup_fd(self._outbox.fileno(), warn_on_full_buffer=False)
        for number in signals:
            signal.signal(number, lambda *_: None)

    def wait(self, seconds: float, file: IO[bytes]) -> tuple[list[signal.Signals], bool]:
        """Wait for an event, for at most this many seconds.

        Returns:
            The signals that came since the last call, and whether `file` can be read (its end
            counts).
        """
        sources: list[socket.socket | IO[bytes]] = [self._inbox, file]
        ready = select.select(sources, [], [], max(0.0, seconds))[0]
        numbers = self._inbox.recv(4096) if self._inbox in ready else b""
        return [signal.Signals(number) for number in numbers], file in ready


def adopt_orphans() -> None:
    """Make this process the parent of every descendant whose own parent dies.

    So that `end_descendants` finds all of them, also those that Ray starts as daemons.

    Raises:
        OSError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def descendants(root: int) -> list[int]:
    """The process ids of all children, grandchildren and so on of the process `root`."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        parent = _parent(entry) if entry.name.isdigit() else None
        if parent is not None:
            children.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    queue = [root]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def _parent(entry: Path) -> int | None:
    try:
        # "pid (command) state ppid …", where the command may hold anything.
        return int((entry / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return None  # it ended meanwhile


def reap() -> dict[int, int]:
    """Collect the children that ended: process id -> exit code (minus the signal if killed)."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def end_descendants(grace: float, patience: float = 5.0) -> list[int]:
    """End every descendant of this process: SIGTERM, and SIGKILL after `grace` seconds.

    Needs `adopt_orphans` before. Nothing else is signalled.

    Returns:
        The process ids that are still there `patience` seconds after the first SIGKILL (one that
        hangs in the kernel, mostly), or as soon as all that are left belong to other users.
    """
    kill_at = time.monotonic() + grace
    foreign = _signal_all(descendants(os.getpid()), signal.SIGTERM)
    while True:
        reap()
        left = descendants(os.getpid())
        now = time.monotonic()
        if foreign.issuperset(left) or now > kill_at + patience:
            return left
        if now >= kill_at:
            foreign = _signal_all(left, signal.SIGKILL)
        time.sleep(0.02)


def _signal_all(pids: Iterable[int], number: signal.Signals) -> set[int]:
    """Send a signal to each. Returns those that belong to other users, and did not get it."""
    return {pid for pid in pids if not _signal(pid, number)}


def _signal(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except PermissionError:
        return False
    except ProcessLookupError:
        pass  # it ended meanwhile
    return True
