"""Who holds a run that was handed over: a numbered list of the relays that continued it.

Each number is taken once, on whatever hosts two relays are. One takes the next number only with
evidence that the holder of the last one is over, and one that no longer has the last number ends:
so a relay that Slurm took for dead does not work beside the one that took over.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from ..base.exclusive import create, read
from ..base.files import make_directory, parse_json
from ..base.presence import names

_NAME = re.compile(r"([0-9]{6})\.json(\.d)?")


class Holder(NamedTuple):
    """The last one. `number` is 0 if no relay has held the run; `job` is empty if the claim cannot
    be read."""

    number: int
    job: str = ""
    stage: str = ""
    host: str = ""


def holder(run_dir: Path) -> Holder:
    """Who holds the run. Raises OSError if that cannot be read now."""
    found = [_NAME.fullmatch(name) for name in names(_folder(run_dir))]
    number = max((int(match.group(1)) for match in found if match), default=0)
    while read(_path(run_dir, number + 1)) is not None:
        number += 1  # a list of names may be older than the files
    data = parse_json(read(_path(run_dir, number)) or "") if number else None
    return Holder(number, *(_text(data, name) for name in ("job", "stage", "host")))


def hold(run_dir: Path, after: int, claim: dict[str, Any]) -> Holder:
    """Take the number after `after`, unless somebody else has; returns who holds the run then.

    Raises OSError if that is not certain.
    """
    make_directory(_folder(run_dir))
    create(_path(run_dir, after + 1), json.dumps(claim) + "\n")
    return holder(run_dir)


def _text(data: Any, name: str) -> str:
    return str(data.get(name, "")) if isinstance(data, dict) else ""


def _folder(run_dir: Path) -> Path:
    return run_dir / ".mnrun" / "relay" / "holders"


def _path(run_dir: Path, number: int) -> Path:
    return _folder(run_dir) / f"{number:06d}.json"
