"""What a step of the measurements asks of what mnrun printed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from .site import Answer


class WrongError(Exception):
    """Something did not come as it has to; the text says what."""


def need(condition: object, text: str, answer: Answer | None = None) -> None:
    """Raise WrongError, with the end of what was printed, unless the condition holds."""
    if not condition:
        raise WrongError(f"{text}\n{_end(answer)}".strip())


def matched(pattern: re.Pattern[str], answer: Answer) -> re.Match[str]:
    """Where a pattern fits what was printed, whatever the lines. Raises WrongError otherwise."""
    found = pattern.search(" ".join(answer.output.split()))
    if found is None:
        raise WrongError(f"nothing like {pattern.pattern}\n{_end(answer)}")
    return found


def _end(answer: Answer | None) -> str:
    return "\n".join(answer.output.splitlines()[-25:]) if answer else ""


def named(answer: Answer, pattern: str) -> str:
    """The last line that fits; empty without one."""
    found = [line.strip() for line in answer.output.splitlines() if re.fullmatch(pattern, line)]
    return found[-1] if found else ""


def wait(condition: Callable[[], bool], limit: float, what: str) -> None:
    """Wait until a condition holds. Raises WrongError after `limit` seconds."""
    deadline = time.monotonic() + limit
    while not condition():
        need(time.monotonic() < deadline, f"{what} is not there after {limit:g} s")
        time.sleep(0.1)
