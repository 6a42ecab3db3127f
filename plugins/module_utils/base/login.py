"""What a user's own login shell sets, whichever shell it is and whatever it prints."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

_LIMIT = 10.0  # seconds
_LAST_WORDS = 2.0  # seconds for a killed shell to end
_MARK = "mnrun-environment "
_PROGRAM = f"import json, os; print({_MARK!r} + json.dumps(dict(os.environ)))"


def login_environment(shell: str) -> dict[str, str]:
    """The environment of a login; empty if the shell does not answer."""
    name = Path(shell).name
    line = f"{shlex.quote(sys.executable)} -c {shlex.quote(_PROGRAM)}"
    # csh takes -l alone; its own start-up file is read anyway.
    options = ["-c", line] if name in ("csh", "tcsh") else ["-l", "-c", line]
    return _environment_in(_output([shell or "/bin/sh", *options]))


def _output(command: list[str]) -> str:
    """What a command prints, in time; a file takes it, as a daemon may keep a pipe open."""
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(_LIMIT)
        except subprocess.TimeoutExpired:
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            # One that waits for a file server which is gone does not end.
            with suppress(subprocess.TimeoutExpired):
                process.wait(_LAST_WORDS)
        printed.seek(0)
        return printed.read().decode("utf-8", "replace")


def _environment_in(text: str) -> dict[str, str]:
    for line in text.splitlines():
        if _MARK in line:
            with suppress(ValueError):
                return dict(json.loads(line.partition(_MARK)[2]))
    return {}
