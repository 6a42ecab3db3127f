"""The programs that jobs carry: where each of them is, and their texts by name."""

from __future__ import annotations

import difflib
from fnmatch import fnmatch
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]

HOMES = (
    "roles/ray_cluster/files/*.py",
    "roles/sft/files/*.py",
    "roles/convert/files/*.py",
    "roles/publish/files/*.py",
    "roles/fetch/files/*.py",
    "roles/preflight/files/*.py",
    # These run in jobs, and modules import them as well.
    "plugins/module_utils/base/presence.py",
    "plugins/module_utils/environment/torch_gpus.py",
    "plugins/module_utils/model/folder.py",
    "plugins/module_utils/model/inside.py",
    "plugins/module_utils/model/manifest.py",
    "plugins/module_utils/model/weights.py",
    "plugins/module_utils/trainer/keep.py",
    "plugins/module_utils/trainer/log_reader.py",
    "plugins/module_utils/trainer/whole.py",
    "plugins/module_utils/trainer/words.py",
)
"""Files of the collection that a job may carry, as patterns. No two have the same name."""


class UnknownProgramError(Exception):
    """No program has this name; the message lists those that there are."""


def programs() -> dict[str, Path]:
    """Every program by its name."""
    return {path.name: path for home in HOMES for path in sorted(_ROOT.glob(home))}


def texts(wanted: list[str]) -> dict[str, str]:
    """Give the texts of programs by their names. `wanted` holds names or shell patterns; raises
    UnknownProgramError for one that fits no program."""
    known = programs()
    names = [name for each in wanted for name in _matches(each, known)]
    return {name: known[name].read_text(encoding="utf-8") for name in names}


def _matches(wanted: str, known: dict[str, Path]) -> list[str]:
    names = [name for name in known if fnmatch(name, wanted)]
    if names:
        return names
    likely = difflib.get_close_matches(wanted, known, n=1)
    hint = f"did you mean {likely[0]}?" if likely else f"there are {', '.join(sorted(known))}."
    raise UnknownProgramError(f"No job carries a program {wanted!r}: {hint}")
