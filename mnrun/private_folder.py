"""A folder for ansible-runner that no one else can read, and that does not outlive its run."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_FOLDER = "mnrun-cli-"
"""How the folder's name begins. A Ray cluster's folder beside it, on a node, is called mnrun-JOB-…:
it must not be taken for one of ours."""

_NEW = f".{_FOLDER}new-"
"""How it begins until its lock is held."""

_LOCK = "alive"
_NEVER_LOCKED = 24 * 3600.0
"""Seconds after which a folder that is still new belongs to a run that died in between."""


@contextmanager
def private_folder() -> Iterator[Path]:
    """Yield an empty folder, which is removed afterwards.

    A lock in it shows that its run is alive, to whoever shares the file system. A process id would
    not: another container or another host has its own.
    """
    _remove_those_of_the_dead()
    new = Path(tempfile.mkdtemp(prefix=_NEW))
    with (new / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = new.with_name(new.name.replace(_NEW, _FOLDER, 1))
        new.rename(folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_those_of_the_dead() -> None:
    """Remove the folders that runs of ours left when they were killed."""
    place = Path(tempfile.gettempdir())
    for folder in place.glob(f"{_FOLDER}*"):
        with suppress(OSError):  # someone else's, gone meanwhile, or of a run that is alive
            if folder.stat().st_uid == os.getuid():
                with (folder / _LOCK).open("r+") as lock:
                    _remove_unless_locked(folder, lock)
    for folder in place.glob(f"{_NEW}*"):
        with suppress(OSError):
            seen = folder.stat()
            if seen.st_uid == os.getuid() and time.time() - seen.st_mtime > _NEVER_LOCKED:
                shutil.rmtree(folder, ignore_errors=True)


def _remove_unless_locked(folder: Path, lock: IO[str]) -> None:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    shutil.rmtree(folder, ignore_errors=True)
