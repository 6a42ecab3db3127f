"""What determines a training besides its options, model and data: files that the options name,
and the trainer itself.
"""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any, Iterator

from ..base.presence import is_file
from ..model.identity import file_identity, folder_identity


def named_files(options: dict[str, Any]) -> dict[str, str]:
    """The content of each file or model that an option names by its path: option -> SHA-256.

    Whatever the option: a reward function, tools, a data script, a chat template. Other folders are
    left out, as a training may write to them. Raises OSError.
    """
    found = {}
    for name, value in options.items():
        identities = [identity for path in _paths(value) if (identity := _identity(path))]
        if identities:
            found[name] = ",".join(identities)
    return found


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


def _paths(value: Any) -> Iterator[Path]:
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, str) and text.startswith(("/", "~/", "file:///")) and "\n" not in text:
            yield Path(text[7:] if text.startswith("file:") else text).expanduser()


def _identity(path: Path) -> str:
    if is_file(path):
        return file_identity(path)
    return folder_identity(path) if is_file(path / "config.json") else ""
