"""The options that a user keeps with a run: a file in its folder, which the controller reads."""

from __future__ import annotations

from pathlib import Path

from ..base.files import make_directory, write_atomic
from ..base.presence import read_text

_NAME = "options.yml"


def path_of(run_dir: Path) -> Path:
    """Where the file is, or will be."""
    return run_dir / _NAME


def keep(run_dir: Path, text: str) -> None:
    """Write the file, unless it has this text or there is none to write."""
    path = path_of(run_dir)
    if text and read_text(path) != text:
        make_directory(run_dir)
        write_atomic(path, text)
