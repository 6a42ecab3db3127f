"""The descendants of one of our processes: finding them, and ending them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL
from typing import NamedTuple

_POLL = 0.05


class Process(NamedTuple):
    """A process, with its start time, because its id may be reused by another one later."""

    pid: int
    start: str


def descendants(root: int) -> list[Process]:
    """Return the processes below `root`; none where there is no /proc."""
    children: dict[int, list[Process]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        found = _stat(int(folder.name))
        if found:
            process, parent = found
            children.setdefault(parent, []).append(process)
    tree = list(children.get(root, []))
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
        send(process.pid, SIGKILL)


def send(pid: int, number: int) -> None:
    """Send a signal to a process, if it is still there and ours."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _alive(process: Process) -> bool:
    found = _stat(process.pid)
    return found is not None and found[0] == process


def _stat(pid: int) -> tuple[Process, int] | None:
    """Return a process and its parent's id; None when it has ended, or waits to be reaped."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field is the program's name in brackets, which may contain anything.
    state, parent, *rest = text.rpartition(")")[2].split()
    return None if state == "Z" else (Process(pid, rest[17]), int(parent))
