"""What a sweep keeps on this machine: each run's variables and output, and who drives it.

Nothing in it decides what is done: the records on the cluster do. It may be removed at any time.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mnrun.errors import CliError

_WAIT = 60.0
"""Seconds in which other processes that drive the same sweep end: they interrupt their commands."""


class Place:
    """The folder of one sweep on one site. Several processes of a user may use it at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stopped_before = self._stop_time()

    def log(self, run: str) -> Path:
        """Return the file with a run's output."""
        return self.folder / f"{run}.log"

    def write_variables(self, run: str, variables: Mapping[str, Any]) -> Path:
        """Return a file with the variables of a run, as -e takes it."""
        path = self.folder / f"{run}.json"
        self._write(path, json.dumps(dict(variables), indent=1))
        return path

    def was_accepted(self, content: str) -> bool:
        """Return True if all runs of this content passed their checks before."""
        path = self.folder / "accepted"
        return path.is_file() and path.read_text(encoding="utf-8") == _digest(content)

    def accept(self, content: str) -> None:
        """Remember that all runs of this content passed their checks."""
        self._write(self.folder / "accepted", _digest(content))

    def stop(self) -> None:
        """Have the other processes that drive this sweep start no more runs."""
        self._stopped_before = str(time.time_ns())
        self._write(self.folder / "stop", self._stopped_before)

    def stopped(self) -> bool:
        """Return True once `stop` was called elsewhere, since this object was made."""
        return self._stop_time() != self._stopped_before

    @contextmanager
    def driven(self) -> Iterator[None]:
        """Show that a process drives this sweep."""
        with self._lock() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield

    def wait_for_drivers(self, pause: Callable[[float], None] = time.sleep) -> bool:
        """Wait until no process drives this sweep; False if one still does after a minute."""
        end = time.monotonic() + _WAIT
        with self._lock() as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() > end:
                        return False
                    pause(0.2)
                else:
                    return True

    def _lock(self) -> IO[str]:
        return (self.folder / "driven").open("a", encoding="utf-8")

    def _stop_time(self) -> str:
        path = self.folder / "stop"
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    def _write(self, path: Path, text: str) -> None:
        """Whoever reads it meanwhile sees the old file or the new one."""
        new = path.with_name(f".{path.name}.{os.getpid()}")
        new.write_text(text, encoding="utf-8")
        new.replace(path)


def place_of(sweep: str, inventory: str, environ: Mapping[str, str] = os.environ) -> Place:
    """Return the place of a sweep, which is made if it is not there.

    Args:
        sweep: its name.
        inventory: the site's, as ansible-playbook takes it.

    Raises:
        CliError: it cannot be made.
    """
    state = Path(environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    folder = state / "mnrun" / "sweeps" / f"{sweep}-{_digest(inventory)[:8]}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "driven").touch(mode=0o600)
    except (OSError, RuntimeError) as error:
        raise CliError(
            f"The output of the runs cannot be written to {folder} ({error}).\n"
            "Set XDG_STATE_HOME to a folder of yours."
        ) from None
    return Place(folder)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
