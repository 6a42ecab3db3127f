"""Looking at files on a shared file system, where an error is not an answer.

Only ENOENT and ENOTDIR (and ELOOP, a link that leads nowhere) mean that something is not there.
Any other error says that it cannot be seen now: it is raised, after a second try if network file
systems recover from it.

Standard library only and no relative imports: jobs carry a copy of this file.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Callable, TypeVar

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
PASSING = (errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.EAGAIN, errno.EINTR)
_NO_FILE = "Not a file"
_Read = TypeVar("_Read")


def steadily(read: Callable[[], _Read]) -> _Read:
    """What `read` returns, called again if the file system refused it for a moment. Raises the
    OSError of the second call."""
    try:
        return read()
    except OSError as error:
        if error.errno not in PASSING:
            raise
    return read()


def not_there(error: OSError) -> bool:
    """True if an error proves that there is no such file."""
    return error.errno in _NOT_THERE


def seen(read: Callable[[], _Read]) -> _Read | None:
    """What `read` returns of a file; None if there is no such file. Raises OSError if that is
    unknown."""
    try:
        return steadily(read)
    except OSError as error:
        if not_there(error):
            return None
        raise


def opened(path: Path) -> BinaryIO:
    """A file to read. Raises IsADirectoryError for anything else of that name: a pipe would keep
    its reader waiting, and a device may not end."""
    return open(path, "rb", opener=_regular)


def _regular(path: str, flags: int) -> int:
    try:
        handle = os.open(path, flags | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:  # of a socket
            raise
        raise IsADirectoryError(errno.EISDIR, _NO_FILE, path) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise IsADirectoryError(errno.EISDIR, _NO_FILE, path)
    return handle


def read_text(path: Path) -> str | None:
    """The text of a file, which need not be UTF-8; None if it does not exist, and empty for
    anything of that name that is not a file. Raises OSError."""

    def read() -> str:
        with opened(path) as stream:
            return stream.read().decode("utf-8", "replace").replace("\r\n", "\n")

    try:
        return seen(read)
    except IsADirectoryError:
        return ""


def names(folder: Path) -> list[str]:
    """The names in a folder, sorted; none if there is no such folder. Raises OSError."""
    return sorted(seen(lambda: os.listdir(folder)) or [])  # noqa: PTH208 - only the names


def is_file(path: Path) -> bool:
    """Whether a file is there; a link counts as what it leads to. Raises OSError."""
    return stat.S_ISREG(_mode(path, os.stat))


def is_dir(path: Path) -> bool:
    """Whether a folder is there; a link counts as what it leads to. Raises OSError."""
    return stat.S_ISDIR(_mode(path, os.stat))


def is_link(path: Path) -> bool:
    """Whether a link is there, wherever it leads to. Raises OSError."""
    return stat.S_ISLNK(_mode(path, os.lstat))


def _mode(path: Path, look: Callable[[str], os.stat_result]) -> int:
    """Type and permissions; 0 if nothing is there. Path.is_file() and its like take every error
    for absence, or some, depending on Python's version."""
    if "\0" in str(path):  # a name from a file, perhaps; the system has none such
        return 0
    found = seen(lambda: look(str(path)))
    return found.st_mode if found else 0
