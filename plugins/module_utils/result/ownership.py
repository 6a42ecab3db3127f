"""Whose checkpoints are they? The trainer silently resumes from whatever it finds.

A marker in the folder contains the spec that wrote it. Before a submission, checkpoints of another
spec are moved to a folder named by their fingerprint; ours, moved earlier, are moved back. Nothing
is ever deleted.
"""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

from ..base.errors import Unknown
from ..base.files import make_directory, sync_directory, write_atomic
from ..base.fingerprint import fingerprint
from ..base.mounts import is_mounted
from ..base.presence import is_dir, is_link, names
from ..model.weights import read_json
from ..record.contract import CheckpointRule, Record

MARKER = ".mnrun.json"
_KEY = re.compile(r"[0-9a-f]{64}")


def owned(rule: CheckpointRule, key: str) -> CheckpointRule | None:
    """`rule` with the current path of the checkpoints of the fingerprint `key`; None if they do not
    exist. Raises Unknown, or OSError, if that cannot be seen."""
    if owner_of(rule.path) == key:
        return rule
    aside = next(filter(is_dir, _asides(rule.path, key)), None)
    return rule._replace(path=aside) if aside else None


def require_mounted(path: Path, record: Record) -> None:
    """Raise Unknown if the file system that a record's results are on is not mounted here: that
    nothing is found at `path` then proves nothing."""
    mount = record.last.mount if record.last else ""
    if mount and not is_mounted(mount) and not names(path):
        raise Unknown(
            f"The results of the stage {record.stage} are on the file system at {mount}, which is "
            f"not mounted on this host, so it is unknown what is in {path}. Nothing was submitted "
            "or changed. Run this where it is mounted, or have it mounted."
        )


def spec_in(rule: CheckpointRule, key: str) -> dict[str, Any] | None:
    """The spec whose fingerprint begins with `key`, if there are checkpoints of it."""
    for folder in (_place(rule.path), *_asides(rule.path, key)):
        data = read_json(folder / MARKER)
        spec = data.get("spec") if isinstance(data, dict) else None
        if isinstance(spec, dict) and fingerprint(spec).startswith(key):
            return spec
    return None


def take_over(rule: CheckpointRule, record: Record, now: float) -> str:
    """Prepare the folder for `record` before a submission. Returns a note if anything was moved.

    Each move is one rename, so after a crash between two of them the next run can continue: the old
    checkpoints are under their own name, and there is no folder in their place.
    """
    path, key, note = _place(rule.path), record.fingerprint, ""
    owner = owner_of(path)
    if owner == key:
        return note
    if names(path):
        target = _free_name(path, owner, now)
        path.rename(target)
        whose = f"other options ({owner[:12]})" if owner else "unknown options"
        note = f"The checkpoints of {whose} were moved to {target}."
    earlier = _aside(path, key)
    if is_dir(earlier):
        if is_dir(path):
            path.rmdir()  # empty: rename would refuse it on some file systems
        earlier.rename(path)
        note = f"{note} Earlier checkpoints of these options were moved back.".strip()
    make_directory(path)
    sync_directory(path.parent)
    marker = {"fingerprint": key, "stage": record.stage, "spec": record.spec}
    write_atomic(path / MARKER, json.dumps(marker, indent=1) + "\n")
    return note


def owner_of(path: Path) -> str:
    """The fingerprint in the marker; empty for a folder without one or with a damaged one. Raises
    Unknown, or OSError, if that cannot be seen."""
    marker = _place(path) / MARKER
    return _key_in(marker) or _key_in(marker)  # a file system that just recovered is read again


def _key_in(marker: Path) -> str:
    data = read_json(marker)
    key = data.get("fingerprint") if isinstance(data, dict) else None
    return key if isinstance(key, str) and _KEY.fullmatch(key) else ""


def _place(path: Path) -> Path:
    """Where the folder is: what is moved and made is that, and never a link to it.

    Raises Unknown for a link that leads nowhere: its file system may just not be mounted here.
    """
    for link in (path, *path.parents):
        if is_link(link) and not is_dir(link):
            raise Unknown(
                f"{link} is a link to {os.readlink(link)}, which does not exist now. Its file "
                "system may not be mounted on this host, so nothing was submitted or moved. Mount "
                "it, or remove the link, and run this again."
            )
    return Path(os.path.realpath(path)) if is_link(path) else path


def _asides(path: Path, key: str) -> list[Path]:
    """Where the checkpoints of other options may be: beside the folder, or beside a link to it."""
    return list(dict.fromkeys((_aside(_place(path), key), _aside(path, key))))


def _aside(path: Path, key: str) -> Path:
    return path.with_name(f"{path.name}.{key[:12]}")


def _free_name(path: Path, owner: str, now: float) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    named = f"{path.name}.{owner[:12]}" if owner else f"{path.name}.unknown-{stamp}"
    candidates = [named, f"{named}-{stamp}"] + [f"{named}-{stamp}-{n}" for n in range(2, 100)]
    taken = names(path.parent)
    return path.with_name(next(name for name in candidates if name not in taken))
