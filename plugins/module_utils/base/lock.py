"""One controller at a time for each stage, also across hosts with a shared home."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Iterator

from .clock import Clock, Deadline
from .errors import Busy, Invalid
from .mounts import local_locks

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds between two attempts


@contextmanager
def stage_lock(path: Path, clock: Clock, limit: float) -> Iterator[None]:
    """Hold the lock file at `path`, waiting up to `limit` seconds for it.

    The kernel (or the NFS server) releases it when its holder dies, in whatever way.
    Raises Busy, naming the holder, after that time, and Invalid on a file system whose locks
    cannot exclude other hosts.
    """
    problem = local_locks(path)
    if problem:
        raise Invalid(problem)
    with path.open("a+", encoding="utf-8") as stream:
        _wait_for(stream, path, Deadline(clock, limit), limit)
        _sign(stream, f"{socket.gethostname()} (process {os.getpid()})")
        try:
            yield
        finally:
            _sign(stream, "")
            fcntl.lockf(stream, fcntl.LOCK_UN)


def _sign(stream: IO[str], text: str) -> None:
    """Write down who holds it, if the disk is not full: the lock works without that too."""
    with suppress(OSError):
        os.ftruncate(stream.fileno(), 0)
        os.write(stream.fileno(), text.encode())


def _wait_for(stream: IO[str], path: Path, deadline: Deadline, limit: float) -> None:
    pause = FIRST_PAUSE
    while not _try(stream, path):
        if deadline.over():
            stream.seek(0)
            holder = stream.read(200) or "another process"
            raise Busy(
                f"{holder} is working on this stage and has not finished within {limit:.0f} s. "
                f"Wait for it, or end it there if it hangs, and run this again. Lock: {path}"
            )
        deadline.pause(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


def _try(stream: IO[str], path: Path) -> bool:
    try:
        fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise Invalid(
            f"The file system cannot lock {path} ({error.strerror}). Put the run folder on one "
            "with POSIX locks (NFS with its lock service, Lustre mounted with `flock`)."
        ) from error
    return True
