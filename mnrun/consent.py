"""Asking a user once, before finished work is set aside or many GPU-hours begin."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from mnrun.terminal import Terminal
from mnrun.variables import read

SET_ASIDE = "mnrun_set_aside"
_ASKS = "mnrun_asks"

_ALWAYS = "MNRUN_YES"

AGREED = {SET_ASIDE: True, _ASKS: False}
"""Variables of a run to whose costs a user has agreed."""


def always(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a user agrees to everything beforehand, as scripts do."""
    return environ.get(_ALWAYS, "") not in ("", "0")


def can_ask() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def not_yet(given: Sequence[str], asks: bool) -> dict[str, Any]:
    """Return the variables of a run that is to stop before anything that needs a yes.

    Args:
        given: values of -e; one of them may answer the question.
        asks: whether there is somebody to ask.
    """
    set_by_user = {name for value in given if value[:1] != "@" for name in read(value)}
    mine = {SET_ASIDE: False, _ASKS: asks}
    return {name: value for name, value in mine.items() if name not in set_by_user}


def agreed(messages: Sequence[str], terminal: Terminal) -> bool:
    """Ask whether to do what the messages say, and return the answer; No if there is none."""
    terminal.line()
    for message in messages:
        terminal.line(message)
    try:
        answer = input("Go ahead? [y/N] ")
    except EOFError:
        answer = ""
    return answer.strip().lower() in ("y", "yes")
