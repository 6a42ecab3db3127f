"""What a check found: one thing that is right, doubtful or wrong, and which variables decide it.

Modules return their findings in this form; whether a fault ends a play is decided by the play.
"""

from __future__ import annotations

from typing import Any, Iterable, NamedTuple

OK, WARNING, FAULT = "ok", "warning", "fault"


class Finding(NamedTuple):
    """`part` is the part of the site that it is about, such as `data`; `variables` are the options
    that decide it, the most likely one first."""

    level: str
    part: str
    what: str
    variables: tuple[str, ...] = ()


def as_dicts(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """The same for a module's result."""
    return [{**each._asdict(), "variables": list(each.variables)} for each in findings]
