"""What the Ray cluster reads and writes on the shared file system, safely.

Standard library only, Python 3.8 or later: runs inside the Slurm job, beside cluster.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TAIL = 131072  # bytes at the end of a log that are looked at
# The raylet's dumps of its state, the frames of C++ and what stands above them, and what Ray says
# of itself while all is well (`… INFO usage_lib.py:441 -- …`, `[… I 12 12] (raylet) main.cc:9: …`).
_NOISE = re.compile(
    r"^\S{8,12} [\d:,.]{8,16}\s+(?:INFO|DEBUG) |^\[\S{8,12} [\d:,.]{8,16} [ID] "
    r"|\[state-dump\]|\(\+0x[0-9a-f]+\) ?\[0x[0-9a-f]+\]|\[0x[0-9a-f]{8,}\]|@ +0x[0-9a-f]{8,}"
    r"|\*\*\* StackTrace|^\s*(?:PC: )?@"
)


def write_private(path: Path, text: str) -> None:
    """Write a new file that only its owner can read.

    Raises:
        FileExistsError: there is one already.
    """
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def remove_tokens(folder: Path) -> None:
    """Remove the tokens of a record's earlier jobs: only one of its jobs is alive at a time.
    Tokens of other users stay."""
    for path in folder.glob("token-*"):
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_uid == os.geteuid():
                path.unlink()


def publish(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file so that a reader sees all of it or nothing, also after a crash."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def withdraw(path: Path, job_id: str) -> None:
    """Remove head.json, unless another job of the same record has published its own since."""
    try:
        if json.loads(path.read_text("utf-8"))["job_id"] == job_id:
            path.unlink()
    except FileNotFoundError:
        return


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of one of Ray's logs; empty when there is no such file.

    Left out is what hides the cause: empty lines, the raylet's state dumps (hundreds of lines), and
    stack frames.
    """
    return _telling(_lines(path))[-count:]


def first_lines(path: Path, count: int) -> list[str]:
    """The first lines of a short error log, which hold the cause; otherwise as `last_lines`."""
    return _telling(_lines(path))[:count]


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def _telling(lines: list[str]) -> list[str]:
    kept, traced = [], False
    for line in lines:
        if traced and line[:1] == " ":
            continue  # a frame of Python's; what was raised follows without a blank
        traced = line.startswith("Traceback (most recent call last)")
        if line.strip() and not traced and not _NOISE.search(line):
            kept.append(line)
    return kept
