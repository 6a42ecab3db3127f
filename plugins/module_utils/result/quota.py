"""What the user's quotas leave on a file system, according to `quota` or Lustre's `lfs quota`.

If these commands are missing, do not answer in time, or print something unexpected, nothing is
known: then only the file system's free space counts.
"""

from __future__ import annotations

import grp
import os
import re
import stat
import time
from pathlib import Path
from typing import NamedTuple

from ..base.errors import MnrunError
from ..base.mounts import mount_of
from ..base.process import Runner

_PATIENCE = 10.0  # seconds for one command
_BLOCK = 1024  # bytes; both commands count in these
_HEADING = re.compile(r"Disk quotas for (?:user|group) (.+) \((uid|gid) (\d+)\)")
# Used (in brackets: not exactly known; with a star: over), soft limit, hard limit, time left.
_ROW = re.compile(r"(?:^|\s)\[?(\d+)\]?\*?\s+(\d+)\s+(\d+)\s+(\S+)\s+\[?\d+\]?\*?\s+\d+\s+\d+\b")


class Quota(NamedTuple):
    """One limit in bytes. `whose` is for a sentence: `your quota`, `the quota of group lab`."""

    whose: str
    left: int
    limit: int


def quotas(path: Path, run: Runner) -> list[Quota]:
    """Those that limit what this user writes below the existing folder `path`."""
    mount = mount_of(path)
    if mount is None:
        return []
    ids = {"u": os.geteuid(), "g": _group(path)}
    if mount.kind == "lustre":
        texts = [
            (kind, _answer(["lfs", "quota", "-q", f"-{kind}", str(number), mount.folder], run))
            for kind, number in ids.items()
        ]
    else:
        # -p: the time as a number, which is always printed, unlike its text.
        answer = _answer(["quota", "-w", "-p", "-u", "-g", "-f", mount.folder], run)
        texts = _sections(answer, ids)
    found = [_read(kind, ids[kind], text) for kind, text in texts]
    return [quota for quota in found if quota]


def _group(path: Path) -> int:
    """The group of a new file there."""
    found = path.stat()
    return found.st_gid if found.st_mode & stat.S_ISGID else os.getegid()


def _answer(command: list[str], run: Runner) -> str:
    try:
        # The exit code means nothing: `quota` also fails for a user who is over the limit.
        return run(command, _PATIENCE, "").out
    except MnrunError:
        return ""


def _sections(text: str, ids: dict[str, int]) -> list[tuple[str, str]]:
    """The parts of the output of `quota` that are about this user and the group that counts."""
    headings = list(_HEADING.finditer(text))
    ends = [*(heading.start() for heading in headings[1:]), len(text)]
    found = []
    for heading, end in zip(headings, ends):
        kind = heading.group(2)[0]
        if ids[kind] == int(heading.group(3)):
            found.append((kind, text[heading.end() : end]))
    return found


def _read(kind: str, number: int, text: str) -> Quota | None:
    match = _ROW.search(text)
    if match is None:
        return None
    used, soft, hard = (int(match.group(place)) * _BLOCK for place in (1, 2, 3))
    limit = hard or soft
    if not limit:
        return None
    over = bool(soft) and used > soft and _expired(match.group(4))
    whose = "your quota" if kind == "u" else f"the quota of group {_group_name(number)}"
    return Quota(whose, 0 if over else max(0, limit - used), limit)


def _expired(grace: str) -> bool:
    """Whether the grace period is over in which a user may exceed the soft limit."""
    return grace == "none" or (grace.isdigit() and 0 < int(grace) < time.time())


def _group_name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
