"""Processes that lead a session of their own, as the kernel of this host knows them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Mapping, NamedTuple, Sequence

from .presence import read_text

OWN_START = '$(sed "s/.*) //" /proc/$$/stat | cut -d" " -f20)'
"""Shell code for when the shell itself began, in the kernel's ticks since the boot."""


_BEGUN: list[subprocess.Popen[bytes]] = []  # Python warns of one that it forgets while it runs


def begin(
    command: Sequence[str], environment: Mapping[str, str], out: str, err: str, mode: int
) -> subprocess.Popen[bytes]:
    """Start a command as the leader of a session of its own, which is not waited for.

    Its output is appended to the files `out` and `err`; new ones get `mode`. Raises OSError.
    """

    def append(path: str, flags: int) -> int:
        return os.open(path, flags, mode)

    with open(out, "ab", opener=append) as to_out, open(err, "ab", opener=append) as to_err:
        begun = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=to_out,
            stderr=to_err,
            start_new_session=True,
        )
    _BEGUN.append(begun)
    return begun


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
