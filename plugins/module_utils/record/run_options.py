"""The options that a user keeps with a run: a file in its folder, which the controller reads."""

from __future__ import annotations

from pathlib import Path

from ..base.errors import Refused
from ..base.files import make_directory, write_atomic
from ..base.presence import is_file, is_link, read_text

_NAME = "options.yml"


def path_of(run_dir: Path) -> Path:
    """Where the file is, or will be."""
    return run_dir / _NAME


def read(run_dir: Path) -> str:
    """The text of the file; empty if there is none. Raises Refused for anything else of that name:
    without its options, the run would be trained by those of the site. Raises OSError."""
    path = path_of(run_dir)
    if not is_file(path) and (is_link(path) or read_text(path) is not None):
        raise Refused(
            f"{path}, the options of this run, is not a file that can be read here (a folder, or a "
            "link that leads nowhere), so nothing was done. Restore the file, or remove it to use "
            "the options of the site alone."
        )
    return read_text(path) or ""


def keep(run_dir: Path, text: str) -> None:
    """Write the file, unless it has this text or there is none to write."""
    path = path_of(run_dir)
    if text and read(run_dir) != text:
        make_directory(run_dir)
        write_atomic(path, text)
