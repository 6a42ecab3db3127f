"""A trainer's options, compared with those of its own parser (`validate.by: argparse`)."""

from __future__ import annotations

import inspect
from typing import Any, Mapping, NamedTuple

from ..base.process import Runner
from ..trainer import own_parser
from .apart import ask, is_like_a_job

PATIENCE = 180.0  # seconds; importing a trainer from a shared file system takes long

_MARK = "mnrun-parser: "
_UNCHECKED = "so its options were not checked"


class Findings(NamedTuple):
    """What was found; both may be empty."""

    faults: list[str]
    warnings: list[str]


def parser_findings(parse: Mapping[str, Any], activation: str, run: Runner) -> Findings:
    """Start a program up to the point where it reads its options (`parse` of the module)."""
    program = parse["program"]
    given = {**parse, "mark": _MARK}
    answer = ask(inspect.getsource(own_parser), given, activation, run, PATIENCE)
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
