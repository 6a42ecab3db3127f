"""Whether compute nodes have the same folders: a file is written here, and looked for there.

Numbers of inodes do not tell: two local file systems often have equal ones.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Iterator

from .bounded import LIMIT, together

_ENDING = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)


@contextmanager
def canaries(folders: list[str]) -> Iterator[list[str]]:
    """The paths of empty files of a name that no one else has, one in each of `folders` that can
    be written in time. They are removed at the end, also if a signal ends this process."""
    name = f".mnrun-init-{secrets.token_hex(16)}"
    paths = [Path(folder, name) for folder in folders]
    before = {one: signal.signal(one, _end) for one in _ENDING}
    try:
        done = together([(partial(_write, path), False) for path in paths], LIMIT)
        yield [str(path) for path, written in zip(paths, done) if written]
    finally:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        # All of them: one that took too long may be there by now.
        together([(partial(_remove, path), None) for path in paths], LIMIT)
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, _frame: Any) -> None:
    sys.exit(128 + number)


def _write(path: Path) -> bool:
    os.close(os.open(str(path), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    return True


def _remove(path: Path) -> None:
    path.unlink()
