"""The lines of a training's logs that show why it failed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Mapping, NamedTuple

from ..base.logfile import MOST, clean_lines, tail
from .log_reader import after_last_step, own_lines
from .raised import Raised, chains
from .words import VERL, Words, words

TAIL = 10  # lines that a failure shows
WIDTH = 200  # characters of each
_CHAIN = 4  # exceptions that came from one another and are shown

# What hydra, argparse and the trainer itself say of an option that they do not take.
OPTION_ERROR = re.compile(
    r"^Could not override |is not in struct|\b(?:Config\w{1,60}Error|MissingMandatoryValue)\b"
    r"|OverrideParseException|HydraException|MissingConfigException|unrecognized arguments"
    r"|No such option|mismatched input|Primary config"
)
# What other ranks, launchers and Ray say because the first one failed.
_REACTION = (
    r"ChildFailedError|SignalException|Rendezvous\w{0,40}Error|DistBackendError|BrokenPipe"
    r"|Dist(?:Network|Store)Error|(?:closed|reset) by peer|Connection was likely closed"
    r"|Broken pipe|^(?:srun|slurmstepd): error|^KeyboardInterrupt|^SystemExit"
)
# What passes another exception on, and refers to it.
_WRAPPER = (
    r"^ray\.exceptions\.(?!OutOfMemoryError|OutOfDiskError|RuntimeEnvSetupError)"
    r"|: Caught [\w.]+ in |^(?:Base)?ExceptionGroup:|RemoteTraceback|^Error executing job"
    r"|[Ee]ngine ?[Cc]ore (?:initialization failed|encountered an issue|proc)|EngineDeadError"
    r"|WorkerProc initialization failed|(?:root cause|stack ?trace|error) (?:\(?above|for the root)"
    r"|DataLoader worker \(pid(?:\(s\))? [\d, ]+\) exited unexpectedly|Process\w{1,60}Exception:"
    r"|CalledProcessError: Command .{1,400} returned non-zero exit status"
    r"|An error occurred while generating the dataset|InstantiationException"
)
_ECHO = re.compile(f"{_REACTION}|{_WRAPPER}")
_WHOLE_STORY = re.compile(r"^ray\.exceptions\.RayTaskError|raised in its creation task")
_REPORT = re.compile(r"^ *Root Cause \(first observed failure\):$")
_REPORTED = re.compile(r"^ *(host|exitcode) +: (\S+)")
_SIGTERM = "-15"
_NODE = re.compile(r"^NodeError: ([A-Za-z0-9][\w.-]{0,200}): ")  # in mnrun's own words
_IP = re.compile(r"\bip=([\w.:-]+)")


class Telling(NamedTuple):
    """The lines that show why a job failed; `line` is the most telling one."""

    path: Path
    line: str
    lines: list[str]
    chain: tuple[str, ...] = ()  # the exceptions that came from one another, the first one first
    node: str = ""  # where it happened, by name or address; empty: not known


def find_telling(paths: list[Path], trainer: Mapping[str, Any] = VERL) -> Telling | None:
    """Why a job failed, by its logs: the exception at the root of it all, and what led to it.

    The error log comes first in `paths`. None if all logs are empty or missing.
    """
    form = words(trainer)
    logs = [(path, own_lines(clean_lines(tail(path, MOST)))) for path in dict.fromkeys(paths)]
    logs = [(path, lines) for path, lines in logs if lines]
    found = [
        (path, lines, chain) for path, lines in logs for chain in [_root(lines, form)] if chain
    ]
    for path, lines, chain in sorted(found, key=lambda one: _is_echo(one[2])):
        return _telling(path, lines, chain, form)
    for path, lines in logs:
        return Telling(path, "", [line[:WIDTH] for line in lines[-TAIL:]])
    return None


def behind_last_step(paths: list[Path], trainer: Mapping[str, Any] = VERL) -> list[str]:
    """All lines of the logs' ends that come after the last step that was trained."""
    found: list[str] = []
    for path in dict.fromkeys(paths):
        lines = own_lines(clean_lines(tail(path)))
        found += lines[after_last_step(lines, words(trainer)) :]
    return found


def _telling(path: Path, lines: list[str], chain: list[Raised], form: Words) -> Telling:
    told = [one for one in chain if not _ECHO.search(one.text)] or chain
    root = _source_of(told)
    begin = after_last_step(lines, form)
    shown = [lines[begin + number][:WIDTH] for number in root.lines[-TAIL:]]
    texts = dict.fromkeys(_prefixed(one) for one in told)
    ip = _IP.search(root.process)
    node = _reported_host(lines[begin:]) or (ip.group(1) if ip else root.origin)
    own = _NODE.match(root.text)
    node = own.group(1) if own else node
    return Telling(path, _prefixed(root), shown, tuple(texts)[-_CHAIN:], node)


def _prefixed(one: Raised) -> str:
    return f"{one.process}{one.text}"


def _source_of(chain: list[Raised]) -> Raised:
    """Where the last exception of a chain came from. What was only being handled when another
    error occurred need not have to do with it."""
    at = len(chain) - 1
    while at and chain[at].link != "context":
        at -= 1
    return chain[at]


def _root(lines: list[str], form: Words) -> list[Raised]:
    """The chain of the exception that is the cause. After the last step that was trained, it is the
    first one that neither wraps another one nor reacts to it."""
    found = chains(lines[after_last_step(lines, form) :])
    story = next((c[0].at for c in found for one in c if _WHOLE_STORY.search(one.text)), 0)
    telling = [chain for chain in found if not _is_echo(chain)]
    raised = [chain for chain in telling if any(one.raised for one in chain)]
    quoted = [chain for chain in raised if chain[0].at >= story]
    named = [chain for chain in found if not chain[0].text.startswith("Error executing job")]
    first = next(iter(quoted or raised or telling or named or found), [])
    return _with_message(first, raised)


def _with_message(chain: list[Raised], others: list[list[Raised]]) -> list[Raised]:
    """The same exception, as another process wrote it in full."""
    if not chain or not chain[-1].bare:
        return chain
    alike = (one for one in others if one[-1].type == chain[-1].type and not one[-1].bare)
    return next(alike, chain)


def _is_echo(chain: list[Raised]) -> bool:
    return all(_ECHO.search(one.text) for one in chain)


def _reported_host(lines: list[str]) -> str:
    """The node of the rank that failed first, in the words of torchrun."""
    for number, line in enumerate(lines):
        if _REPORT.match(line):
            rows = (_REPORTED.match(row) for row in lines[number + 1 : number + 8])
            report = {row.group(1): row.group(2) for row in rows if row}
            if report.get("host") and report.get("exitcode") != _SIGTERM:
                return report["host"]
    return ""
