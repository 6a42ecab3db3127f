"""What is handed over by `--detach`: the command as it was typed, with what it names here."""

from __future__ import annotations

import argparse
import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnrun.closing import as_typed
from mnrun.errors import UsageError

VARIABLE = "mnrun_handover"
DETACH = "--detach"
PLACE = "@variables/"
"""How a value of -e begins that is a file of the handover."""


def handover(options: argparse.Namespace, inventory: str) -> str:
    """Return what the role relay takes along, encoded so that Ansible reads nothing into it.

    Raises:
        UsageError: a file of -e cannot be read.
    """
    files: dict[str, str] = {}
    values: list[str] = []
    for value in options.extra_vars:
        name = f"{len(values)}.yml"
        if value.startswith("@"):
            files[name] = _text(value)
        values.append(f"{PLACE}{name}" if value.startswith("@") else value)
    words = [word for word in options.words if word != DETACH]
    command = json.dumps({"words": words, "extra_vars": values})
    shown = {name: as_typed([name], options) for name in ("status", "attach", "cancel")}
    shown["command"] = as_typed(words, options)
    data = {"command": command, "files": files, "inventory": inventory, "shown": shown}
    return base64.b64encode(json.dumps(data).encode()).decode()


def _text(value: str) -> str:
    path = Path(value[1:]).expanduser()
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"-e {value}: it cannot be read ({error}).") from None


def command_line(folder: Path) -> list[str]:
    """Return the arguments of `mnrun` in a folder that was handed over."""
    given: Mapping[str, Any] = json.loads((folder / "words.json").read_text(encoding="utf-8"))
    line = list(given["words"])
    for value in given["extra_vars"]:
        place = value.startswith(PLACE)
        line += ["-e", f"@{folder}/{value[1:]}" if place else value]
    site = folder / "site"
    hosts = [path for path in sorted(site.glob("hosts*")) if path.is_file()]
    return [*line, "-i", str(site if any(site.glob("*/")) or not hosts else hosts[0])]
