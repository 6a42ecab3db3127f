"""Whether this machine can hold a sandbox: asked before anything is installed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Sequence

from .errors import SandboxError

PYTHON = Path("/usr/bin/python3")
OS_RELEASE = Path("/etc/os-release")
TOOLS = ("apt-get", "dpkg-query")


def python() -> str:
    """The version of this machine's own Python, such as 3.13; empty where there is none."""
    return PYTHON.resolve().name[len("python") :] if PYTHON.exists() else ""


def lacks(pythons: Sequence[str]) -> list[str]:
    """Return what is missing here apart from packages; any Python will do if `pythons` is empty."""
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    known = sorted(pythons)
    if known and python() not in known:
        here = f"Python {python()}" if python() else "not there"
        missing.append(f"Python {' or '.join(known)} (/usr/bin/python3 is {here})")
    return missing


def refuse(missing: Sequence[str]) -> SandboxError:
    """The error that names everything that is missing."""
    return SandboxError(
        f"The sandbox cannot be installed on this machine ({_name()}), and nothing was changed. "
        f"Missing: {', '.join(missing)}. It runs on Debian 12 and 13, and should on "
        "Ubuntu 24.04: use one of these, or a virtual machine. What was tried: "
        "https://github.com/mnrun/mnrun/blob/main/docs/versions.md"
    )


def _name() -> str:
    text = OS_RELEASE.read_text(encoding="utf-8") if OS_RELEASE.exists() else ""
    found = re.search(r'^PRETTY_NAME="?([^"\n]+)', text, re.MULTILINE)
    return found.group(1) if found else "no /etc/os-release"
