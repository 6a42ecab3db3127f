"""Intents: the numbered list of a stage's submissions, on disk before each is made.

Each number is taken once, on whatever hosts two controllers are and whether or not their lock
works: the second one finds the first one's intent, and with it the job that is being submitted.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ..base.errors import Damaged
from ..base.exclusive import create, read, remove
from ..base.files import make_directory, parse_json
from ..base.presence import names
from .contract import Attempt, Record

_NAME = re.compile(r"([0-9]{6})\.json(\.d)?")


class Intent(NamedTuple):
    """The newest one. `number` is 0 if there is none."""

    number: int
    data: dict[str, Any]  # a record with the attempt as its only one, as JSON


def newest(folder: Path) -> Intent:
    """The newest intent in a stage's folder of intents. Raises Damaged if it cannot be read."""
    found = [_NAME.fullmatch(name) for name in names(folder)]
    number = max((int(match.group(1)) for match in found if match), default=0)
    while read(_path(folder, number + 1)) is not None:
        number += 1  # a list of names may be older than the files
    if not number:
        return Intent(0, {})
    data = parse_json(read(_path(folder, number)) or "")
    if not isinstance(data, dict):
        raise Damaged(
            f"{_path(folder, number)}, the last submission of this stage, cannot be read. Check "
            "with squeue that no job of it is alive, move that file away, and run this again.",
            reason="it is not JSON",
        )
    return Intent(number, data)


def declare(folder: Path, number: int, record: Record, attempt: Attempt) -> bool:
    """Write down that `attempt` of `record` is about to be submitted. False: somebody else has just
    submitted something."""
    make_directory(folder)
    alone = replace(record, attempts=[attempt], output=None)
    return create(_path(folder, number), json.dumps(alone.as_dict(), indent=1) + "\n")


def withdraw(folder: Path, number: int) -> None:
    """Take back an intent of one's own that certainly led to no job."""
    remove(_path(folder, number))


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.json"
