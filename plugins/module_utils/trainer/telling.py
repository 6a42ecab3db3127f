"""The lines of a training's logs that show why it failed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from ..base.logfile import clean_lines, tail
from .words import step_line

TAIL = 25  # lines that a failure shows
_ERROR = re.compile(
    r"(?:^|\s)(?:[\w.]+\.)?\w*(?:Error|Exception)(?:\([\w.]+\))?(?::|$)"
    r"|^Could not override |^Error executing job|: command not found$|^(?:srun|slurmstepd): error"
)
# What hydra, argparse and the trainer itself say of an option that they do not take.
OPTION_ERROR = re.compile(
    r"^Could not override |is not in struct|\b(?:Config\w+Error|MissingMandatoryValue)\b"
    r"|OverrideParseException|HydraException|MissingConfigException|unrecognized arguments"
    r"|No such option|mismatched input|Primary config"
)
_TRACEBACK = "Traceback (most recent call last):"
# What other ranks, launchers and Ray say because the first one failed; Ray's own line stands before
# the error that it wraps.
_SECONDARY = re.compile(
    r"ChildFailedError|SignalException|Rendezvous\w*Error|DistBackendError|BrokenPipe"
    r"|^ray\.exceptions\.|closed by peer|Broken pipe|^(?:srun|slurmstepd): error"
)


class Telling(NamedTuple):
    """The lines that show why a job failed; `line` is the most telling one."""

    path: Path
    line: str
    lines: list[str]


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
    return max((n for n, line in enumerate(lines) if step_line(line)), default=-1) + 1


def _error_at(lines: list[str]) -> int | None:
    """Where the error line is. After the last step that was trained, the first error is the cause;
    the following ones are reactions of other ranks and launchers."""
    begin = _after_last_step(lines)
    errors = [n for n in range(begin, len(lines)) if _ERROR.search(lines[n])]
    telling = [n for n in errors if not _SECONDARY.search(lines[n])]
    raised = [n for n in telling if any(_TRACEBACK in line for line in lines[max(0, n - 200) : n])]
    return next(iter(raised or telling or errors), None)


def _around(lines: list[str], at: int) -> list[str]:
    """The error line, a few lines after it, and as many before it as fit."""
    end = min(len(lines), at + 6)
    return lines[max(0, end - TAIL) : end]
