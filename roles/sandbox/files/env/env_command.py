"""Commands of the build, the files that it writes, and what it says."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

TOTAL_SECONDS = 1800
TAIL_LINES = 15


class InstallError(Exception):
    """Something that stops the build, as a message for the user."""


def say(text: str) -> None:
    """Show one progress line."""
    print(f"[environment] {text}", file=sys.stderr, flush=True)


def run(command: list[str], deadline: float) -> str:
    """Run one command of the build, return its output; on failure raise with the end of it."""
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            timeout=max(1.0, deadline - time.monotonic()),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InstallError(f"not done after {TOTAL_SECONDS} s: {' '.join(command)}") from None
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-TAIL_LINES:])
        raise InstallError(f"this failed (exit {done.returncode}): {' '.join(command)}\n{tail}")
    return done.stdout


def write_atomically(target: Path, content: bytes) -> None:
    """Replace ``target`` in one step, readable by all."""
    fresh = target.with_name(f"{target.name}.{os.getpid()}")
    fresh.write_bytes(content)
    fresh.chmod(0o644)
    fresh.replace(target)
