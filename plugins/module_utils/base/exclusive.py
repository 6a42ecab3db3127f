"""A file that one of several processes can make, on whatever hosts they are.

Locks do not exclude on every file system, as where NFS is mounted with `nolock`. Names do: of two
hard links, or two folders, of one name the file server makes one.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from pathlib import Path

from .files import sync_directory, write_atomic
from .presence import read_text

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR)
_INSIDE = "claim"  # the text, in the folder that stands for a link


def create(path: Path, text: str) -> bool:
    """Write `text` to `path`, complete, unless somebody else has. True: it was us.

    Raises OSError if that is not certain.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        write_atomic(part, text)
        ours = _link(part, path)
    finally:
        part.unlink(missing_ok=True)
    sync_directory(path.parent)
    return ours


def read(path: Path) -> str | None:
    """The text of a file that `create`, or a job, made; None if there is none."""
    text = read_text(path)
    return read_text(_folder(path) / _INSIDE) if text is None else text


def remove(path: Path) -> None:
    """Remove a file that `create` made."""
    shutil.rmtree(_folder(path), ignore_errors=True)
    path.unlink(missing_ok=True)


def _link(part: Path, path: Path) -> bool:
    try:
        os.link(part, path)
    except FileExistsError:
        # A server that did it may get the request twice, and answer the second.
        return part.stat().st_nlink > 1
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _rename_folder(part, path)
    return True


def _rename_folder(part: Path, path: Path) -> bool:
    """The same where there are no hard links: a folder does not replace one that is not empty."""
    folder = part.with_name(f"{part.name}.d")
    folder.mkdir()
    try:
        write_atomic(folder / _INSIDE, part.read_text(encoding="utf-8"))
        folder.rename(_folder(path))
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        if error.errno not in _TAKEN:
            raise
        return False
    if path.exists():
        return False
    part.replace(path)
    return True


def _folder(path: Path) -> Path:
    return path.with_name(f"{path.name}.d")
