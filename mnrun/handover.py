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
from mnrun.sweep.file import read

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
    shown = _shown(options, words)
    sweep = getattr(options, "sweep_file", "")
    if sweep:
        name = f"sweep/{Path(sweep).name}"  # a sweep may be called as its file
        files[name] = _text(f"@{sweep}")
        words = [f"{PLACE}{name}" if word == sweep else word for word in words]
    command = json.dumps({"words": words, "extra_vars": values})
    data = {"command": command, "files": files, "inventory": inventory, "shown": shown}
    return base64.b64encode(json.dumps(data).encode()).decode()


def _shown(options: argparse.Namespace, words: list[str]) -> dict[str, str]:
    """What was typed, and what shows, follows and stops the run."""
    shown = {name: as_typed([name], options) for name in ("status", "attach", "cancel")}
    sweep = getattr(options, "sweep_file", "")
    if sweep:
        own = argparse.Namespace(**vars(options))
        own.run = sweep_run(read(Path(sweep).expanduser()).name)
        own.extra_vars = [*options.extra_vars, f"mnrun_run_name={own.run}"]
        shown = {
            "status": as_typed(["sweep", sweep, "--table"], options),
            "attach": as_typed(["attach"], own),
            "cancel": as_typed(["sweep", sweep, "--cancel"], options),
        }
    return {**shown, "command": as_typed(words, options)}


def sweep_run(name: str) -> str:
    """The run in whose folder the relay of a sweep is; it has no stages of its own."""
    return f"{name}-relay"


def _text(value: str) -> str:
    path = Path(value[1:]).expanduser()
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"-e {value}: it cannot be read ({error}).") from None


def command_line(folder: Path) -> list[str]:
    """Return the arguments of `mnrun` in a folder that was handed over."""
    given: Mapping[str, Any] = json.loads((folder / "words.json").read_text(encoding="utf-8"))
    line = [f"{folder}/{word[1:]}" if word.startswith(PLACE) else word for word in given["words"]]
    for value in given["extra_vars"]:
        place = value.startswith(PLACE)
        line += ["-e", f"@{folder}/{value[1:]}" if place else value]
    site = folder / "site"
    hosts = [path for path in sorted(site.glob("hosts*")) if path.is_file()]
    return [*line, "-i", str(site if any(site.glob("*/")) or not hosts else hosts[0])]
