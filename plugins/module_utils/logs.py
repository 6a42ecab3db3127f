"""A job's logs: the end of a long file, what is new in it, and the lines that say what failed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

CHUNK = 256 * 1024  # bytes read of a log at once: more than any traceback, less than a second
TAIL = 25  # lines that a failure shows
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_ERROR = re.compile(
    r"(?:^|\s)(?:[\w.]+\.)?\w*(?:Error|Exception)(?:\([\w.]+\))?(?::|$)"
    r"|^Could not override |^Error executing job|: command not found$|^(?:srun|slurmstepd): error"
)
_TRACEBACK = "Traceback (most recent call last):"
# What other ranks, launchers and Ray say because the first one failed; Ray's own line stands before
# the error that it wraps.
_SECONDARY = re.compile(
    r"ChildFailedError|SignalException|Rendezvous\w*Error|DistBackendError|BrokenPipe"
    r"|^ray\.exceptions\.|closed by peer|Broken pipe|^(?:srun|slurmstepd): error"
)
_STEP_LINE = re.compile(r"\bstep:\d+ - ")


class Telling(NamedTuple):
    """The lines that show why a job failed; `line` is the most telling one."""

    path: Path
    line: str
    lines: list[str]


def head(path: Path) -> str:
    """The first part of a log; empty if there is none."""
    return _read(path, 0)


def tail(path: Path) -> str:
    """The last part of a log, from the beginning of a line."""
    size = size_of(path)
    text = _read(path, max(0, size - CHUNK))
    return text if size <= CHUNK else text.partition("\n")[2]


def clean_lines(text: str) -> list[str]:
    """Lines as a terminal would leave them: a progress bar's last state, and no colours."""
    lines = _COLOURS.sub("", text).split("\n")
    kept = (line.rstrip().rsplit("\r", 1)[-1] for line in lines)
    return [line for line in kept if line.strip()]


def news(path: Path, offset: int) -> tuple[list[str], int]:
    """The whole lines behind byte `offset`, and where the next call has to go on.

    A file that is shorter than `offset` was begun anew: it is read from its start.
    """
    start = offset if 0 <= offset <= size_of(path) else 0
    data = _bytes(path, start)
    end = data.rfind(b"\n") + 1 or (len(data) if len(data) == CHUNK else 0)
    return clean_lines(data[:end].decode("utf-8", "replace")), start + end


def last_lines(path: Path, count: int) -> tuple[list[str], int]:
    """The last `count` whole lines of a log, and the offset for `news`."""
    size = size_of(path)
    start = max(0, size - CHUNK)
    lines, offset = news(path, start)
    return lines[-count:] if count else [], offset


def find_telling(paths: list[Path]) -> Telling | None:
    """Why a job failed, by its logs: the first error of the last burst, with what led to it.

    The error log comes first in `paths`. None if all logs are empty or missing.
    """
    logs = [(path, clean_lines(tail(path))) for path in dict.fromkeys(paths)]
    logs = [(path, lines) for path, lines in logs if lines]
    for path, lines in logs:
        at = _error_at(lines)
        if at is not None:
            return Telling(path, lines[at].strip(), _around(lines, at))
    for path, lines in logs:
        return Telling(path, "", lines[-TAIL:])
    return None


def behind_last_step(paths: list[Path]) -> list[str]:
    """All lines of the logs' ends that come after the last step that was trained."""
    found: list[str] = []
    for path in dict.fromkeys(paths):
        lines = clean_lines(tail(path))
        found += lines[_after_last_step(lines) :]
    return found


def _after_last_step(lines: list[str]) -> int:
    return max((n for n, line in enumerate(lines) if _STEP_LINE.search(line)), default=-1) + 1


def _error_at(lines: list[str]) -> int | None:
    """Where the telling line is. After the last step that was trained, the first error is the
    cause; those behind it are what other ranks and launchers made of it."""
    begin = _after_last_step(lines)
    errors = [n for n in range(begin, len(lines)) if _ERROR.search(lines[n])]
    telling = [n for n in errors if not _SECONDARY.search(lines[n])]
    raised = [n for n in telling if any(_TRACEBACK in line for line in lines[max(0, n - 200) : n])]
    return next(iter(raised or telling or errors), None)


def _around(lines: list[str], at: int) -> list[str]:
    """The error's line, a few behind it, and before it as much as there is room for."""
    end = min(len(lines), at + 6)
    return lines[max(0, end - TAIL) : end]


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
    """Bytes of a log; 0 if there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
