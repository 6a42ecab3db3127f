"""Whether the programs of services exist, as far as the login node can tell."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any, Iterator, NamedTuple

from ..base.files import expand
from ..base.presence import is_file


class Findings(NamedTuple):
    """What is wrong with programs, and what is not known of them."""

    faults: list[str]
    warnings: list[str]


def service_findings(trainers: list[dict[str, Any]], image: str) -> Findings:
    """What there is to say of the programs of stages' services. In an image nothing is known of
    them. Raises OSError."""
    found = Findings([], [])
    for trainer in [] if image else trainers:
        for one in trainer.get("services") or []:
            for text, sure in _judged(one["command"][0]):
                at = found.faults if sure else found.warnings
                at.append(f"{trainer['stage']}: the service {one['name']}: {text}")
    return found


def _judged(program: str) -> Iterator[tuple[str, bool]]:
    """What is wrong with a program, and whether that is certain."""
    if "/" not in program:
        near = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        if not shutil.which(program, path=near):
            yield f"there is no program {program} on PATH here, nor in the environment", False
        return
    path = expand(program)
    if not is_file(path):
        # Compute nodes may have other files, but the home folder is the same.
        yield f"there is no file {path}", Path.home() in path.parents
    elif not os.access(path, os.X_OK):
        yield f"{path} is not executable", True
