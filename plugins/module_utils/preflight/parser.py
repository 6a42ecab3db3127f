"""A trainer's options, compared with those of its own parser (`validate.by: argparse`)."""

from __future__ import annotations

import inspect
from typing import Any, Mapping, NamedTuple

from ..base.process import Runner
from ..trainer import own_parser
from .apart import Answer, ask, is_like_a_job
from .passed import Passed

PATIENCE = 180.0  # seconds; importing a trainer from a shared file system takes long

_MARK = "mnrun-parser: "
_UNCHECKED = "so its options were not checked"


class Findings(NamedTuple):
    """What was found; both may be empty."""

    faults: list[str]
    warnings: list[str]


def parser_findings(parse: Mapping[str, Any], activation: str, run: Runner) -> Findings:
    """Start a program up to the point where it reads its options (`parse` of the module), unless
    they are known to pass."""
    how = inspect.getsource(own_parser)
    passed = Passed(parse, activation, how)
    known = passed.warnings()
    if known is not None:
        return Findings([], known)
    answer = ask(how, {**parse, "mark": _MARK}, activation, run, PATIENCE)
    found = _found(parse["program"], answer, activation)
    if answer.found is not None and {kind for kind, _text in answer.found} <= {"warning"}:
        passed.keep(found.warnings)
    return found


def _found(program: str, answer: Answer, activation: str) -> Findings:
    if answer.late:
        return Findings(
            [],
            [f"{program} did not read its options within {PATIENCE:.0f} s, {_UNCHECKED} here"],
        )
    if answer.found is None:
        return Findings([], [f"{program} ended before ({answer.last}), {_UNCHECKED} here"])
    found = Findings([], [])
    for kind, text in answer.found:
        if kind == "fault" or (kind == "unstarted" and is_like_a_job(activation)):
            found.faults.append(text if kind == "fault" else f"{program} cannot start: {text}")
        elif kind == "warning":
            found.warnings.append(text)
        else:
            words = f"{program} read no options by argparse ({text}), {_UNCHECKED} here"
            found.warnings.append(words)
    return found
