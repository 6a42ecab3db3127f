"""What people were notified of: a mark for each event beside its record, and the last fault.

The mark is made before the event is sent, by one of all who see it. If that one dies between the
two, the event is lost; it is never sent twice.
"""

from __future__ import annotations

from pathlib import Path

from ..base.exclusive import create
from ..base.files import make_directory, write_atomic
from ..base.presence import is_file, read_text


def first_to_notify(folder: Path, event: str) -> bool:
    """Make the mark of an event in the folder of its record. True: it was us. Raises OSError if
    that is not certain."""
    mark = folder / f"notified-{event}"
    if is_file(mark):
        return False
    make_directory(folder)
    return create(mark, "")


def keep_fault(run_dir: Path, text: str) -> None:
    """Keep what went wrong with the last event; empty if nothing did. Raises OSError."""
    path = _fault(run_dir)
    if text or is_file(path):
        write_atomic(path, text)


def last_fault(run_dir: Path) -> str:
    """What went wrong with the last event that was sent; empty if nothing did. Raises OSError."""
    return read_text(_fault(run_dir)) or ""


def _fault(run_dir: Path) -> Path:
    return run_dir / ".mnrun" / "notify-fault"
