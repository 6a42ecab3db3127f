"""Code of a user or a trainer, run apart in Python, as a job would, for a bounded time."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from ..base.process import Runner

# As a job does it. Without the script, only what the environment itself has is found.
_SHELL = 'source "$1" && shift && exec python -c "$@"'


class Answer(NamedTuple):
    """What the program printed behind its mark. Without it, `late` or its last line."""

    found: Any = None
    late: bool = False
    last: str = ""


def is_like_a_job(activation: str) -> bool:
    """Whether what is not found here would not be found in a job either."""
    return bool(activation) and Path(activation).is_file()


def ask(text: str, given: dict[str, Any], activation: str, run: Runner, seconds: float) -> Answer:
    """Run `text` with the training environment's Python, `given` as JSON its argument.

    It prints one line: `given["mark"]` and JSON. `activation`: the script that jobs source.
    """
    own = [text, json.dumps(given)]
    if is_like_a_job(activation):
        command = ["bash", "--noprofile", "--norc", "-c", _SHELL, "mnrun", activation, *own]
    else:
        command = [sys.executable, "-c", *own]
    done = run(command, seconds, "")
    mark = str(given["mark"])
    lines = [line for line in done.out.splitlines() if line.startswith(mark)]
    if lines:
        return Answer(json.loads(lines[-1][len(mark) :]))
    last = (done.err.strip().splitlines() or ["no message"])[-1]
    return Answer(late=done.code is None, last=last)
