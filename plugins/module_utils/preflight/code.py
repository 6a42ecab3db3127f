"""What determines a training besides its options, model and data: files that the options name,
and the trainer itself.
"""

from __future__ import annotations

import json
import re
from importlib import metadata
from pathlib import Path
from typing import Any, Iterator

from ..base.presence import is_file, names
from ..model.identity import file_identity, files_identity, folder_identity

_LONGEST_NAME, _LONGEST_PATH = 255, 4096  # bytes
# Paths in a list that is a text, in quotes, or with the name of what is called: `[/a.py,/b.py]`.
_IN_TEXT = re.compile(r"(?:(?<![^\s,'\"\[\]{}:=])~?|(?<=file://))/[^\s,'\"\[\]{}:=]+")


def named_files(options: dict[str, Any]) -> dict[str, str]:
    """The content of each file or model that an option names by its path: option -> SHA-256.

    Whatever the option: a reward function, tools, a data script, a chat template. An option that
    names files among other things, as in a mapping, is not in the result itself, but what is in it
    (`OPTION.KEY`, `OPTION: PATH`). Of a folder of code its Python files count; other folders are
    left out, as a training may write to them. Raises OSError.
    """
    found: dict[str, str] = {}
    for name, value in options.items():
        paths = [_path(text) for text in (value if isinstance(value, list) else [value])]
        identities = [_identity(path) if path else "" for path in paths]
        if identities and all(identities):
            found[name] = ",".join(identities)
        else:
            found.update(_within(name, value))
    return found


def _within(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """The files in a value that is not only their paths."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _within(f"{name}.{key}", item)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _within(f"{name}.{number}", item)
    elif isinstance(value, str):
        for text in _IN_TEXT.findall(value):
            path = _path(text)
            identity = _identity(path) if path else ""
            if identity:
                yield name if text == value else f"{name}: {text}", identity


def version_of(program: str) -> str:
    """The version of the installed package that a program (`package.module`) belongs to,
    with the commit of one from a repository; empty if it is not an installed package."""
    try:
        package = metadata.distribution(program.partition(".")[0])
        origin = json.loads(package.read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, ValueError):
        return ""
    commit = origin.get("vcs_info", {}).get("commit_id", "")
    return " ".join(filter(None, (package.version, commit)))


def _path(text: Any) -> Path | None:
    """The place that a text names; None for another text."""
    if not isinstance(text, str) or not text.startswith(("/", "~/", "file:///")):
        return None
    place = text[7:] if text.startswith("file:") else text
    if not place.isprintable() or max(map(len, place.encode().split(b"/"))) > _LONGEST_NAME:
        return None
    return Path(place).expanduser() if len(place) < _LONGEST_PATH else None


def _identity(path: Path) -> str:
    if is_file(path):
        return file_identity(path)
    if is_file(path / "config.json"):
        return folder_identity(path)
    programs = [path / name for name in names(path) if name.endswith(".py")]
    return files_identity(programs) if programs else ""
