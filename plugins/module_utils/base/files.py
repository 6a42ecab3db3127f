"""Files on a shared file system: complete or absent, and on disk before we continue."""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import Invalid
from .presence import PASSING, is_dir


def expand(path: str) -> Path:
    """`~` and `~user` at the start of `path`, made absolute; links stay as they are.

    Raises Invalid for a path that some tool here could not handle.
    """
    # Not Path.resolve(): what a user calls ~/training must not become /mnt/disk7/…
    full = os.path.expanduser(path)  # noqa: PTH111
    if any(ord(character) < 32 for character in full):
        raise Invalid(f"The path {path!r} contains a control character (a line break?). Rename it.")
    if not full.startswith("/"):
        raise Invalid(f"The path {path!r} must start with / or ~/; variables are not expanded.")
    return Path(os.path.normpath(full))


def make_directory(path: Path) -> bool:
    """Create `path` and its parents. True if it did not exist."""
    if is_dir(path):
        return False
    path.mkdir(parents=True, exist_ok=True)
    return True


# Some network file systems do not sync folders.
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF)


def sync_directory(path: Path) -> None:
    """Sync the names in the folder `path` to disk, if the file system supports that."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(handle)


def write_atomic(path: Path, text: str) -> None:
    """Write `text`; a reader, also after a crash, sees either the old file or the new one."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with part.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except BaseException as error:
        with suppress(OSError):
            part.unlink()
        if isinstance(error, OSError):  # on a full disk it has no name, otherwise that of `part`
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    sync_directory(path.parent)


_UNKNOWN = (
    " Its content is unknown, so nothing was submitted, moved or deleted because of it; run this "
    "again when the file system responds."
)
_WHAT_TO_DO = {
    **dict.fromkeys(PASSING, _UNKNOWN),
    errno.ENOSPC: " Free some space there, and run this again: submitted jobs are found again.",
    errno.EDQUOT: " Free some space there, or have your quota raised, and run this again: "
    "submitted jobs are found again.",
    errno.EACCES: " Check its permissions.",
    errno.EROFS: " Ask your administrators why, or move the run folder.",
    errno.ENOTDIR: " Part of this path is a file: correct the path, or move the file away.",
    errno.ENAMETOOLONG: " Choose a shorter path.",
}


def explain(error: OSError) -> str:
    """What went wrong with a file, and what to do, as a message for the user."""
    what_to_do = _WHAT_TO_DO.get(error.errno or 0, "")
    where = f"{error.filename}: " if error.filename else "A file could not be read or written: "
    return f"{where}{error.strerror or error}. Nothing further was done.{what_to_do}"


def changed_at(path: Path) -> int:
    """When a file was last written, in nanoseconds since the epoch; 0 if it does not exist."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def parse_json(text: str) -> Any:
    """The value of a JSON text; None if it is not valid, or contains NaN or infinity."""
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError):
        return None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    return number
