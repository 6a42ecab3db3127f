"""Whether the programs of services and the files of their secrets are there, as far as the login
node can tell."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path
from typing import Any, Iterator, NamedTuple

from ..base.files import expand
from ..base.presence import is_file, read_text


class Findings(NamedTuple):
    """What is wrong with programs and secrets, and what is not known of them."""

    faults: list[str]
    warnings: list[str]


def service_findings(trainers: list[dict[str, Any]], image: str) -> Findings:
    """What there is to say of the programs of stages' services and of the files of their secrets.
    In an image nothing is known of programs. Raises OSError."""
    found = Findings([], [])
    for trainer in trainers:
        for one in trainer.get("services") or []:
            about = [] if image else list(_judged(one["command"][0]))
            for name, path in (one.get("secrets") or {}).items():
                about += [(f"secrets: {name}: {text}", sure) for text, sure in _of_secret(path)]
            for text, sure in about:
                at = found.faults if sure else found.warnings
                at.append(f"{trainer['stage']}: the service {one['name']}: {text}")
    return found


def _of_secret(given: str) -> Iterator[tuple[str, bool]]:
    """What is wrong with the file of a secret, and whether that is certain."""
    path = expand(given)
    if not is_file(path):
        yield f"there is no file {path}", Path.home() in path.parents
    elif path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield f"others can read or change {path}. Run: chmod 600 {path}", True
    elif not os.access(path, os.R_OK):
        yield f"you cannot read {path}", True
    elif not (read_text(path) or "").strip():
        yield f"{path} is empty", True


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
