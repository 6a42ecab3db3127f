"""Names of files that come from elsewhere: the Hub's list, a manifest, an index of weights.

Each is a path within one folder, or it is not used. Standard library only and no relative imports:
jobs carry a copy of this file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

_LONGEST, _LONGEST_PART = 1024, 255  # bytes
# Of what is printed and typed: no control characters, no changes of the direction, no halves.
_UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
    r"\xad\u180e\u200b-\u200d\u2060-\u2065\ufeff\U000e0000-\U000e007f]"
)


def name_fault(name: Any) -> str:
    """Why `name` is not the path of a file within a folder; empty if it is one."""
    if not isinstance(name, str):
        return f"{name!r:.80} is not a name"
    parts = name.split("/")
    if _UNSEEN.search(name) or "\\" in name:
        return f"{name!r:.80} contains characters that no name of a file needs"
    if not {"", ".", ".."}.isdisjoint(parts):
        return f"{name!r:.80} is not a path within a folder"
    if len(name) > _LONGEST or max(len(part.encode()) for part in parts) > _LONGEST_PART:
        return f"{name!r:.80}… is too long for the name of a file"
    return ""


def inside(folder: Path, name: str) -> Path:
    """The file `name` of `folder`. Raises ValueError unless it is within it, links considered."""
    fault = name_fault(name)
    if fault:
        raise ValueError(fault)
    path = folder / name
    if (
        os.path.realpath(path.parent)
        != os.path.join(  # noqa: PTH118 - realpath has no other form
            os.path.realpath(folder), *name.split("/")[:-1]
        )
    ):
        raise ValueError(f"{name!r:.80} leads through a link in {folder}")
    return path
