"""Is a file of weights complete? Answered from its structure, without reading the weights.

Each function returns what is wrong, naming the file, or an empty text; it raises OSError if the
file cannot be read, which says nothing about it.

Standard library only: jobs carry a copy of this file and of presence.py.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO, Iterator

if __package__:
    from ..base.presence import is_file, read_text, seen, steadily
else:  # in a job, which carries both files
    from presence import is_file, read_text, seen, steadily  # type: ignore[import-not-found, no-redef]

INDEX = "model.safetensors.index.json"
_LONGEST_HEADER = 100_000_000  # bytes; the format's own limit
_ENTRY = b"PK\x03\x04"  # how each entry of an archive begins
_BLOCK = 1 << 20  # bytes
_LARGEST = 1 << 62  # bytes; no file is larger


def torch_fault(path: Path) -> str:
    """A file of torch.save is a zip archive, whose directory is at the end: a truncated file has
    none. One with holes, as after a crash of its host, may have it, and zeros before: what a hole
    is in is compared with its checksum."""
    if not is_file(path):
        return f"{path} is missing"
    return "" if seen(lambda: _is_archive(path)) else f"{path} is truncated or damaged"


def safetensors_fault(path: Path) -> str:
    """The header contains the offset of each tensor, and thus the size of the file."""
    if not is_file(path):
        return f"{path} is missing"
    size = steadily(path.stat).st_size
    try:
        expected = seen(lambda: _expected_size(path, size))
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError,
            struct.error):  # fmt: skip
        return f"{path} is damaged: it does not start with a safetensors header"
    if expected != size:
        return f"{path} is damaged: it has {size} bytes; according to its header, {expected}"
    return ""


def file_fault(path: Path) -> str:
    """What is wrong with any file of a checkpoint, by what its name says that it is. No file of
    one is empty."""
    if path.is_dir():
        return ""
    if path.suffix == ".safetensors":
        return safetensors_fault(path)
    if path.suffix in (".pt", ".pth", ".bin", ".distcp"):
        return torch_fault(path)
    if not is_file(path):
        return f"{path} is missing"
    if path.suffix == ".json" and read_json(path) is None:
        return f"{path} is truncated or damaged"
    return "" if steadily(path.stat).st_size else f"{path} is empty"


class _Noted:
    """A file that remembers why it could not be read: zipfile takes that for damage."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.seek, self.tell, self.seekable = stream.seek, stream.tell, stream.seekable
        self.fileno = stream.fileno
        self.error: OSError | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            return self._stream.read(size)
        except OSError as error:
            self.error = error
            raise


def _is_archive(path: Path) -> bool:
    with path.open("rb") as stream:
        noted = _Noted(stream)
        whole = _has_entries(noted) and _has_no_lost_blocks(noted)
    if noted.error:
        raise noted.error
    return whole


def _has_entries(stream: _Noted) -> bool:
    """Whether the directory is there, and what it says is where it says: looked at for the first
    entry, the last one and one in between."""
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error):
        return False
    offsets = sorted(entry.header_offset for entry in entries)
    for offset in {*offsets[:1], *offsets[len(offsets) // 2 :][:1], *offsets[-1:]}:
        stream.seek(offset)
        if stream.read(len(_ENTRY)) != _ENTRY:
            return False
    return bool(entries)


def _has_no_lost_blocks(stream: _Noted) -> bool:
    """Whether each entry with a hole is what it was: a file system may keep zeros as a hole."""
    holes = list(_holes(stream.fileno()))
    if not holes:
        return True
    with zipfile.ZipFile(stream) as archive:
        entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
        ends = [entry.header_offset for entry in entries[1:]] + [archive.start_dir]
        hit = [
            entry
            for entry, end in zip(entries, ends)
            if any(entry.header_offset < stop and start < end for start, stop in holes)
        ]
        others = sorted((one for one in entries if one not in hit), key=lambda one: one.file_size)
        # A file can be written without checksums: another entry shows that these are some.
        if not all(_is_sound(archive, entry) for entry in others[:1]):
            return True
        return all(_is_sound(archive, entry) for entry in hit)


def _holes(descriptor: int) -> Iterator[tuple[int, int]]:
    """Where a file has no blocks, from byte to byte; nothing where a file system does not tell."""
    place, size = 0, os.fstat(descriptor).st_size
    try:
        while place < size:
            start = os.lseek(descriptor, place, os.SEEK_HOLE)
            if start >= size:
                return
            place = _data_after(descriptor, start, size)
            yield start, place
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise


def _data_after(descriptor: int, start: int, size: int) -> int:
    try:
        return os.lseek(descriptor, start, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but the hole follows
            return size
        raise


def _is_sound(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    try:
        with archive.open(entry) as stream:
            while stream.read(_BLOCK):
                pass
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, zlib.error):
        return False
    return True


def _expected_size(path: Path, size: int) -> int:
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        if length > min(size, _LONGEST_HEADER):
            raise ValueError("the header is longer than the file")
        header = json.loads(stream.read(length))
    ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    if not all(type(end) is int and 0 <= end < _LARGEST for end in ends):
        raise ValueError("an offset is not a number of bytes")
    return 8 + int(length) + max(ends, default=0)


def read_json(path: Path) -> Any:
    """The content of a JSON file; None if it is missing or damaged. Raises OSError."""
    try:
        return json.loads(read_text(path) or "")
    except (ValueError, RecursionError):
        return None
