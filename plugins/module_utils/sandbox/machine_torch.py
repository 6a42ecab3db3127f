"""The torch for GPUs that this machine has already: a training environment can use it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Iterable, Iterator, NamedTuple, Sequence

from .layout import HIDDEN
from .process import run

OWN_PLACES = tuple(f"{folder}/" for folder in (*HIDDEN, "/tmp"))  # noqa: S108
OLDEST = (2, 6)  # the first one that the sandbox's trainers run on
# Where images and administrators put one, apart from PATH.
PLACES = ("opt/*/bin", "opt/*/.venv/bin", "opt/*/venv/bin", "usr/local/bin", "usr/bin")
ASK = """
import importlib.util, json, os, sys
found = importlib.util.find_spec("torch")
base = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
print(json.dumps(["%d.%d" % sys.version_info[:2], base, found.origin if found else ""]))
"""


class Torch(NamedTuple):
    """A Python that has a torch for GPUs, and the versions of both."""

    python: str
    python_version: str
    version: str


def find(pythons: Sequence[str], places: Iterable[Path]) -> tuple[Torch | None, list[str]]:
    """The first Python of `places` whose torch can be used, and why others cannot.

    `pythons` are the versions of Python that a training environment can have.
    """
    faults: list[str] = []
    for place in places:
        found = look(place, pythons)
        if isinstance(found, Torch):
            return found, faults
        faults.append(f"{place}: {found}")
    return None, faults


def places(root: Path = Path("/")) -> Iterator[Path]:
    """The Pythons of this machine: those of PATH first."""
    folders = [Path(name) for name in os.environ.get("PATH", "").split(":") if name]
    for pattern in PLACES:
        folders += sorted(root.glob(pattern))
    seen = set()
    for path in (folder / "python3" for folder in folders):
        if path.exists() and path not in seen:
            seen.add(path)
            yield path


def look(python: Path, pythons: Sequence[str]) -> Torch | str:
    """A Python's torch, or why it has none that can be used."""
    done = run([str(python), "-c", ASK], timeout=30, check=False)
    if done.returncode or not done.stdout.strip():
        return "it does not run"
    version, base, origin = json.loads(done.stdout.splitlines()[-1])
    if not origin:
        return "no torch"
    torch, fault = _version(Path(origin).with_name("version.py"))
    hidden = [path for path in (str(python), base, origin) if path.startswith(OWN_PLACES)]
    if hidden:
        fault = f"the nodes cannot see {hidden[0]}"
    elif version not in pythons:
        fault = f"it is for Python {version}, not {' or '.join(pythons)}"
    return f"torch {torch}: {fault}" if fault else Torch(str(python), version, torch)


def _version(path: Path) -> tuple[str, str]:
    """The version of the torch whose version.py this is, and what is wrong with it."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    found = re.search(r"^__version__\b[^=\n]*= *['\"]([\d.]+[^'\"]*)", text, re.MULTILINE)
    version = found.group(1) if found else "unknown"
    if not re.search(r"^cuda\b[^=\n]*= *['\"]", text, re.MULTILINE):
        return version, "it is not for GPUs"
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST:
        return version, f"it is older than {OLDEST[0]}.{OLDEST[1]}"
    return version, ""
