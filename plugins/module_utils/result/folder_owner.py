"""Which run and stage a folder of results belongs to: `.NAME.mnrun-run.json` beside the folder.

Two runs whose checkpoint folders are set alike would write into each other's, or set them aside.
The first one to use a folder owns it, until that run is removed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from ..base.errors import Refused
from ..base.exclusive import create, read, remove
from ..base.files import make_directory, parse_json
from ..base.presence import is_dir, names

_END = ".mnrun-run.json"


def require_owner(folder: Path, run_dir: Path, stage: str) -> None:
    """Raise Refused if the folder, or one in it or around it, belongs to another run or stage."""
    place = Path(os.path.realpath(folder))
    around = [parent for parent in place.parents if parent.parent != parent]
    inside = [place / name[1 : -len(_END)] for name in names(place) if name.endswith(_END)]
    for path in (place, *around, *inside):
        owner = _owner(path)
        if owner is None or (path == place and owner == _claim(run_dir, stage)) or _is_gone(*owner):
            continue
        run, other = owner
        what = "is" if path == place else f"overlaps {path}, which is"
        raise Refused(
            f"{folder} {what} the folder of the stage {other} of the run {Path(run).name} ({run}), "
            f"so the stage {stage} of {run_dir} cannot use it. Nothing was changed. Give it a "
            f"folder of its own ({_variable(stage)}), or remove that run."
        )


def take_ownership(folder: Path, run_dir: Path, stage: str) -> None:
    """Make the folder this run's. Raises Refused as `require_owner`, also if another run is
    quicker."""
    require_owner(folder, run_dir, stage)
    place = Path(os.path.realpath(folder))
    make_directory(place.parent)
    owner = _owner(place)
    if owner and owner != _claim(run_dir, stage):
        remove(_file(place))
    text = json.dumps({"run_dir": os.path.realpath(run_dir), "stage": stage}) + "\n"
    if not create(_file(place), text):
        require_owner(folder, run_dir, stage)


def _owner(place: Path) -> tuple[str, str] | None:
    data = parse_json(read(_file(place)) or "")
    if not isinstance(data, dict):
        return None
    run, stage = data.get("run_dir"), data.get("stage")
    return (run, stage) if isinstance(run, str) and isinstance(stage, str) else None


def _claim(run_dir: Path, stage: str) -> tuple[str, str]:
    return os.path.realpath(run_dir), stage


def _is_gone(run: str, stage: str) -> bool:
    """True if the run was removed; not if the folder that it was in cannot be seen here."""
    folder = Path(run)
    return stage not in names(folder / ".mnrun") and is_dir(folder.parent)


def _file(place: Path) -> Path:
    return place.with_name(f".{place.name}{_END}")


def _variable(stage: str) -> str:
    role, _dash, source = stage.partition("-")
    return f"convert_dirs: {{{source}: ...}}" if role == "convert" else f"{role}_dir"
