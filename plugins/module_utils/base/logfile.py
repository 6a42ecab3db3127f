"""A job's logs: the end of a long file, and what is new in it."""

from __future__ import annotations

from pathlib import Path

from .text import printable

CHUNK = 256 * 1024  # bytes read of a log at once: more than any traceback, less than a second


def head(path: Path) -> str:
    """The first part of a log; empty if it does not exist."""
    return _read(path, 0)


def tail(path: Path) -> str:
    """The last part of a log, from the beginning of a line if there is one."""
    size = size_of(path)
    text = _read(path, max(0, size - CHUNK))
    return text if size <= CHUNK else text.partition("\n")[2] or text


def clean_lines(text: str) -> list[str]:
    """Lines as a terminal would leave them: a progress bar's last state, and nothing that a
    terminal would obey."""
    kept = (printable(line.rstrip().rsplit("\r", 1)[-1]) for line in text.split("\n"))
    return [line for line in kept if line.strip()]


def news(path: Path, offset: int) -> tuple[list[str], int]:
    """The complete lines after byte `offset`, and the offset for the next call.

    A file that is shorter than `offset` was started over: it is read from the beginning.
    """
    start = offset if 0 <= offset <= size_of(path) else 0
    data = _bytes(path, start)
    end = data.rfind(b"\n") + 1 or (len(data) if len(data) == CHUNK else 0)
    return clean_lines(data[:end].decode("utf-8", "replace")), start + end


def last_lines(path: Path, count: int) -> tuple[list[str], int]:
    """The last `count` complete lines of a log, and the offset for `news`."""
    size = size_of(path)
    start = max(0, size - CHUNK)
    lines, offset = news(path, start)
    return lines[-count:] if count else [], offset


def _read(path: Path, start: int) -> str:
    return _bytes(path, start).decode("utf-8", "replace")


def _bytes(path: Path, start: int) -> bytes:
    try:
        with path.open("rb") as stream:
            stream.seek(start)
            return stream.read(CHUNK)
    except OSError:
        return b""


def size_of(path: Path) -> int:
    """Bytes of a log; 0 if it does not exist."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
