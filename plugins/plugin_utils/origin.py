"""Where a variable's value was written, as ansible-core knows it since 2.19."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple


class Place(NamedTuple):
    """A place for people, `FILE:LINE` or words; empty if it is not known. `path`: it is a file."""

    text: str = ""
    path: bool = False


def place_of(value: Any) -> Place:
    """Where a value was written; a file of the current folder without that folder's path."""
    try:
        from ansible._internal._datatag._tags import Origin  # noqa: PLC0415 - not a public name
    except ImportError:
        return Place()
    origin = Origin.get_tag(value)
    if origin is None or origin == Origin.UNKNOWN:
        return Place()
    if not origin.path:
        return Place(str(origin.description))
    path = Path(origin.path)
    short = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return Place(f"{short}:{origin.line_num}" if origin.line_num else str(short), path=True)


def at(value: Any) -> str:
    """The place, as it is written behind a variable's name; empty if it is not known."""
    found = place_of(value)
    how = ", in" if found.path else ", as given in"
    return f"{how} {found.text}" if found.text else ""
