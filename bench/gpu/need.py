"""What a step of the measurements asks of what mnrun printed."""

from __future__ import annotations

import re

from .site import Answer


class WrongError(Exception):
    """Something did not come as it has to; the text says what."""


def need(condition: object, text: str, answer: Answer | None = None) -> None:
    """Raise WrongError, with the end of what was printed, unless the condition holds."""
    if not condition:
        tail = "\n".join(answer.output.splitlines()[-25:]) if answer else ""
        raise WrongError(f"{text}\n{tail}".strip())


def named(answer: Answer, pattern: str) -> str:
    """The last line that fits; empty without one."""
    found = [line.strip() for line in answer.output.splitlines() if re.fullmatch(pattern, line)]
    return found[-1] if found else ""
