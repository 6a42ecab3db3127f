"""What each of our jobs carries, as Slurm's comment or Ray's metadata: the run, the stage and the
attempt that it belongs to.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from .contract import Attempt

MARK = re.compile(
    r"mnrun run=(?P<run>/.*) stage=(?P<stage>\w[\w.-]*) fp=(?P<fp>[0-9a-f]{12}) "
    r"attempt=(?P<number>[0-9]{1,6}) token=(?P<token>\w+)"
)


def mark(run_dir: Path, stage: str, folder: Path, attempt: Attempt) -> str:
    """The mark of an attempt's job; `folder` is its record's."""
    return (
        f"mnrun run={run_dir} stage={stage} fp={folder.name} "
        f"attempt={attempt.number} token={attempt.token}"
    )


def names_run(found: re.Match[str], run_dir: Path) -> bool:
    """True if a mark names this run, by whatever path."""
    named = found.group("run")
    return named == str(run_dir) or os.path.realpath(named) == os.path.realpath(run_dir)
