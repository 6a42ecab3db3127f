"""Puts an archive on the shared file system as a folder that is whole, or not there.

The folder's name says what is in it, so that it is written once and never changed. It is built
beside its place and renamed; `complete.json` in it lists its files.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import secrets
import shutil
import tarfile
import zlib
from pathlib import Path
from typing import Callable

from ..base.errors import Invalid
from ..base.files import make_directory, parse_json, sync_directory, write_atomic
from ..base.presence import is_dir, read_text

LISTING = "complete.json"
_PIECE = 1 << 20  # bytes


def is_whole(folder: Path) -> bool:
    """True if all files of the folder are there, with their sizes. Raises OSError if that cannot
    be seen."""
    text = read_text(folder / LISTING)
    if text is None:
        return False
    try:
        sizes = parse_json(text)["files"]
        return all(_size(folder / name) == size for name, size in sizes.items())
    except (ValueError, TypeError, KeyError, AttributeError):
        return False


def unpack(archive: Path, digest: str, folder: Path, prepare: Callable[[Path], None]) -> None:
    """Make `folder` of a compressed tar archive, which has this SHA-256 when it is not compressed.
    `prepare` adds to the files, and raises if they are of no use.

    Raises Invalid for an archive that is another one, and what `prepare` raises."""
    if _sha256(archive) != digest:
        raise Invalid(f"{archive} arrived damaged. Run the command again.")
    make_directory(folder.parent)
    new = folder.with_name(f".new-{folder.name}-{secrets.token_hex(4)}")
    try:
        new.mkdir(mode=0o700)
        with tarfile.open(archive) as files:
            files.extractall(new)  # noqa: S202 - its sum is that of an archive of ours
        prepare(new)
        write_atomic(new / LISTING, json.dumps({"files": _sizes(new)}))
        _rename(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    sync_directory(folder.parent)


def _rename(new: Path, folder: Path) -> None:
    """Somebody else may have made the same folder meanwhile; a damaged one is kept beside it."""
    if is_dir(folder) and not is_whole(folder):
        folder.rename(folder.with_name(f".damaged-{folder.name}-{secrets.token_hex(4)}"))
    if not is_dir(folder):
        try:
            new.rename(folder)
        except OSError:
            if not is_whole(folder):
                raise


def _sizes(folder: Path) -> dict[str, int]:
    """The size of each file by its path; without links and what Python compiles."""
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.suffix != ".pyc"
    }


def _size(path: Path) -> int:
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return -1


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    try:
        with gzip.open(path) as stream:
            while True:
                piece = stream.read(_PIECE)
                if not piece:
                    return found.hexdigest()
                found.update(piece)
    except (EOFError, gzip.BadGzipFile, zlib.error):  # cut off, or changed on its way
        return ""
