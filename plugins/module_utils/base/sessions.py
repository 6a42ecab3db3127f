"""Processes that lead a session of their own, as the kernel of this host knows them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from .presence import read_text

OWN_START = '$(sed "s/.*) //" /proc/$$/stat | cut -d" " -f20)'
"""Shell code for when the shell itself began, in the kernel's ticks since the boot."""


class Stat(NamedTuple):
    """What the kernel tells of a process."""

    session: int
    start: int  # in its ticks since the boot


def stat_of(pid: int) -> Stat | None:
    """Session and start of a process; None if it has ended, or is hidden: another user's, as /proc
    may be mounted (hidepid)."""
    try:
        text = read_text(Path(f"/proc/{pid}/stat"))
    except (ProcessLookupError, PermissionError):  # the first of one that ended just now
        return None
    if text is None:
        return None
    words = text.rpartition(")")[2].split()  # the name before it may contain anything
    return None if words[0] == "Z" else Stat(int(words[3]), int(words[19]))


def processes(pid: int, start: int) -> list[int]:
    """The leader of a session that began at `start`, or what is left of its session: the kernel
    uses no number again that is still a session's."""
    leader = stat_of(pid)
    if leader is not None:
        return [pid] if leader.start == start else []
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [one for one in pids if (about := stat_of(one)) and about.session == pid]
