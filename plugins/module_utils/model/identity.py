"""Which data and which model this is: an identity that depends on content, not on place or time."""

from __future__ import annotations

import hashlib
from pathlib import Path

# Files up to this size are read completely. Of larger ones only this many blocks: trained weights
# differ almost everywhere, and a run must not wait until 100 GB have been read.
WHOLE = 32 * 1024 * 1024
BLOCKS = 256
BLOCK = 4096


def file_identity(path: Path) -> str:
    """SHA-256 (hexadecimal) of a file's size and content. Raises OSError."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as stream:
        if size <= WHOLE:
            digest.update(stream.read())
        else:
            for number in range(BLOCKS):
                stream.seek(number * (size - BLOCK) // (BLOCKS - 1))
                digest.update(stream.read(BLOCK))
    return digest.hexdigest()


def folder_identity(folder: Path) -> str:
    """SHA-256 (hexadecimal) of the names and contents of a folder's own files, without hidden
    files and sub-folders. Raises OSError."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            digest.update(f"{path.name}\0{file_identity(path)}\n".encode())
    return digest.hexdigest()


def files_identity(paths: list[Path]) -> str:
    """SHA-256 (hexadecimal) of the names and contents of files; empty for none. Raises OSError."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}\0{file_identity(path)}\n".encode())
    return digest.hexdigest() if paths else ""
