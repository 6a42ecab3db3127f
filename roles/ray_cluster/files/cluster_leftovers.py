"""Folders of jobs on a node's own disk: held while their job lives there, swept when it is dead.

Only a node that was killed whole leaves one. The lock of the kernel is what tells: it ends with the
process that holds it, however that ends, and no query is needed.
Standard library only, Python 3.8 or later: runs inside the Slurm job and, for `mnrun gc`, alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_NAME = re.compile(r"mnrun-\d+-[0-9a-f]{6}")
_YOUNG = 30.0  # seconds in which a folder may not be locked yet, on a node under load


@contextlib.contextmanager
def hold(home: Path) -> Iterator[None]:
    """Mark a folder as in use, until this process is done with it or dead."""
    with (home / "lock").open("wb") as lock:  # closed in every child
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def stale(root: Path) -> list[Path]:
    """This user's folders below `root` whose clusters are dead."""
    try:
        found = sorted(path for path in root.iterdir() if _NAME.fullmatch(path.name))
    except OSError:
        return []
    return [path for path in found if _is_stale(path)]


def sweep(root: Path) -> list[Path]:
    """Remove them. Returns those that are gone."""
    found = stale(root)
    for path in found:
        shutil.rmtree(path, ignore_errors=True)
    return [path for path in found if not path.exists()]


def _is_stale(path: Path) -> bool:
    try:
        about = path.lstat()
        if about.st_uid != os.geteuid() or path.is_symlink() or not path.is_dir():
            return False
        return time.time() - about.st_mtime > _YOUNG and not _held(path / "lock")
    except OSError:
        return False  # it went meanwhile, or cannot be judged


def _held(lock: Path) -> bool:
    try:
        file: IO[bytes] = lock.open("rb")
    except FileNotFoundError:
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


if __name__ == "__main__":
    # `cluster_leftovers.py list|remove FOLDER`: a line for each.
    act = {"list": stale, "remove": sweep}[sys.argv[1]]
    for folder in act(Path(sys.argv[2])):
        print(folder)
