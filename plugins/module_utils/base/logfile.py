"""A job's logs: the end of a long file, and what is new in it. A log that exists and cannot be read
raises OSError: it is not an empty one. What is not a file, such as /dev/null, is."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from .presence import opened, seen
from .text import printable

CHUNK = 256 * 1024  # bytes read of a log at once: more than any traceback, less than a second
MOST, MOST_LINES = (
    1024 * 1024,
    2000,
)  # bytes and lines that are new: more could not be shown in time


def head(path: Path) -> str:
    """The first part of a log; empty if it does not exist."""
    return _bytes(path, 0).decode("utf-8", "replace")


def tail(path: Path, most: int = CHUNK) -> str:
    """The last part of a log, from the beginning of a line if there is one."""
    size = size_of(path)
    text = _bytes(path, max(0, size - most), most).decode("utf-8", "replace")
    return text if size <= most else text.partition("\n")[2] or text


def clean_lines(text: str) -> list[str]:
    """Lines as a terminal would leave them: a progress bar's last state, and nothing that a
    terminal would obey. Of one without an end, its beginning."""
    kept = (printable(line.rstrip().rsplit("\r", 1)[-1]) for line in text.split("\n"))
    return [line for line in kept if line.strip()]


class News(NamedTuple):
    """What is new in a log."""

    lines: list[str]
    offset: int  # in bytes, for the next call
    skipped: int = 0  # bytes before `lines` that are not shown: there was too much


def news(path: Path, offset: int, ended: bool = False) -> News:
    """The newest complete lines after byte `offset`; the last one need not be complete if nothing
    more comes (`ended`).

    A file that is shorter than `offset` was started over: it is read from the beginning.
    """
    size = size_of(path)
    begin = offset if 0 <= offset <= size else 0
    start = max(begin, size - MOST)
    data = _bytes(path, start, MOST)
    end = data.rfind(b"\n") + 1
    if ended or (not end and len(data) == MOST):
        end = len(data)
    cut = data.find(b"\n", 0, end) + 1 if start > begin else 0  # it began within a line
    cut = max(cut, _of_last_lines(data[:end]))
    lines = clean_lines(data[cut:end].decode("utf-8", "replace"))
    return News(lines, start + end, start + cut - begin)


def _of_last_lines(data: bytes) -> int:
    """Where the last MOST_LINES lines begin."""
    at = len(data) - 1
    for _ in range(MOST_LINES):
        at = data.rfind(b"\n", 0, max(0, at))
        if at < 0:
            return 0
    return at + 1


def last_lines(path: Path, count: int, ended: bool = False) -> News:
    """The last `count` lines of a log, and the offset for `news`."""
    lines, offset, _skipped = news(path, max(0, size_of(path) - CHUNK), ended)
    return News(lines[-count:] if count else [], offset)


def _bytes(path: Path, start: int, most: int = CHUNK) -> bytes:
    def read() -> bytes:
        with opened(path) as stream:
            stream.seek(start)
            return stream.read(most)

    try:
        return seen(read) or b""
    except IsADirectoryError:
        return b""


def size_of(path: Path) -> int:
    """Bytes of a log; 0 if it does not exist. Raises OSError."""
    found = seen(path.stat)
    return found.st_size if found else 0
