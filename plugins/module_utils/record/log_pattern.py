"""Paths of logs with `%x` and `%j` in them, for sbatch."""

from __future__ import annotations

import re
from pathlib import Path

from ..base.errors import Invalid
from ..base.files import expand


def log_pattern(path: str, run_dir: Path) -> str:
    """A path with %x and %j for sbatch: absolute, and a % in the run's own folder is kept.

    Raises Invalid for a path that sbatch would not expand.
    """
    if not path:
        return ""
    if "\\" in path:
        raise Invalid(f"The path {path!r} contains a backslash, and sbatch would not expand it.")
    full, own = str(expand(path)), str(run_dir)
    inside = full.startswith(f"{own}/")
    return own.replace("%", "%%") + full[len(own) :] if inside else full


def resolve(pattern: str, name: str, job_id: str) -> str:
    """The path that sbatch derives from a pattern with %x, %j and %%."""
    known = {"%x": name, "%j": job_id, "%%": "%"}
    return re.sub(r"%[xj%]", lambda match: known[match.group()], pattern)
