"""Keeps which options a trainer's own parser has passed: importing a trainer takes seconds of
processor time, with each command.

A file in the user's cache, named by all that the answer follows from: the options, the program,
the environment and its packages. Where that cannot be known without importing the trainer, as of a
script that imports others, nothing is kept.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Iterator, Mapping

from ..base.compiled import load, store

FOLDER = "~/.cache/mnrun/checked"
MOST = 32
"""Files in it; the oldest go first."""
AGE = 24 * 3600.0
"""Seconds. A package that is edited where it is installed looks the same, but not for longer."""

_LARGEST = 1 << 20  # bytes of a file that an option names
_PATH = re.compile(r"[~/][^\s\"',]{0,4000}")


class Passed:
    """What is kept of one check. `place`: its file; None if nothing may be kept."""

    def __init__(self, parse: Mapping[str, Any], activation: str, how: str) -> None:
        """`how`: the text of the program that checks."""
        self.place: Path | None = None
        with suppress(OSError, ValueError):
            facts = _facts(parse, activation)
            if facts is not None:
                text = json.dumps([how, dict(parse), facts], sort_keys=True)
                name = hashlib.sha256(text.encode()).hexdigest()
                self.place = Path(FOLDER).expanduser() / name

    def warnings(self) -> list[str] | None:
        """What the check warned of when it passed; None if it has to be made."""
        if self.place is None:
            return None
        content = load(self.place)
        try:
            old = time.time() - self.place.stat().st_mtime > AGE
            return None if content is None or old else list(json.loads(content))
        except (OSError, ValueError, TypeError):
            return None

    def keep(self, warnings: list[str]) -> None:
        """Keep that it passed with these warnings."""
        if self.place is not None:
            store(self.place, json.dumps(warnings).encode(), MOST)


def _facts(parse: Mapping[str, Any], activation: str) -> list[str] | None:
    """What decides beside the options' own text; None if not all of that can be known."""
    options, program = json.dumps(parse["options"]), str(parse["program"])
    own = not parse["text"] and (program.endswith(".py") or "/" in program)
    if own or ".py" in options:
        return None
    packages = list(_packages())
    if None in packages:
        return None
    script = Path(activation).read_text(encoding="utf-8", errors="replace") if activation else ""
    files = [_content(Path(path).expanduser()) for path in _PATH.findall(options)]
    return [sys.prefix, sys.version, script, *files, *map(str, packages)]


def _packages() -> Iterator[str | None]:
    """The installed packages with their versions; None for one whose code is elsewhere."""
    for place in sys.path:
        if not place.endswith(("site-packages", "dist-packages")):
            continue
        for path in sorted(Path(place).iterdir()):
            if path.name.endswith((".dist-info", ".egg-info")):
                yield str(path)
            elif _leads_elsewhere(path):
                yield None


def _leads_elsewhere(path: Path) -> bool:
    if path.name.endswith(".egg-link") or path.name.startswith("__editable__"):
        return True
    if path.suffix != ".pth":
        return False
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return any(line.strip() and not line.startswith(("import ", "#")) for line in lines)


def _content(path: Path) -> str:
    """What a file is, whose path an option has; empty for a folder, as of a model."""
    try:
        status = path.stat()
    except OSError:
        return "none"
    if not stat.S_ISREG(status.st_mode):
        return ""
    if status.st_size > _LARGEST:
        return f"{status.st_size} {status.st_mtime_ns}"
    return hashlib.sha256(path.read_bytes()).hexdigest()
