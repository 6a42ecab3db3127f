"""A trial of ssh from the controller to a compute node."""

from __future__ import annotations

import subprocess

from ..module_utils.base.text import printable

OPTIONS = ("-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "ControlMaster=no")
_LIMIT = 30.0  # seconds for ssh


def refusal(ssh: list[str], node: str) -> str:
    """What ssh says if it does not get through to a node; empty if it does."""
    try:
        done = subprocess.run(
            [*ssh, node, "true"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no connection within {_LIMIT:.0f} s"
    except OSError as error:
        return f"ssh cannot be run: {error.strerror}"
    if done.returncode == 0:
        return ""
    words = " ".join(printable(done.stderr.decode("utf-8", "replace")).split())[-300:]
    return words or f"exit code {done.returncode}"
