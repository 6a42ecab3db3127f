"""Folders for runs: those that the site offers this user, and what is in them."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import Any, Iterator, Mapping

from ..base.mounts import mount_of, mounts
from ..base.process import Runner
from ..result.quota import quotas
from .bounded import together

_LIMIT = 8.0  # seconds for all of them: a server of files may be gone
_MOST = 24
_SHARED = (
    "nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "fuse.ceph", "wekafs", "panfs", "pvfs2",
    "orangefs", "glusterfs", "fuse.glusterfs", "afs", "cifs", "smb3", "fuse.daos", "fuse.juicefs",
)  # fmt: skip
_NAMED = re.compile(
    r"(?:[A-Z0-9]+_)*(?:P?SCRATCH|WORK|PROJECT|DATA|STORE|STORAGE|GROUP_HOME|CFS)"
    r"(?:_?(?:DIR|ROOT))?S?"
)
_OWN = ("{user}", "users/{user}", "user/{user}", "home/{user}", "scratch/{user}", "work/{user}")


def folders(
    home: Path, user: str, environment: Mapping[str, str], run: Runner
) -> list[dict[str, Any]]:
    """Where this user may keep runs, home first: `path`, `why` it is named, `kind` of its file
    system, whether that is `shared` by its kind, `free` bytes and the `quota` left (None: not
    known). Folders that cannot be written are left out.
    """
    named = dict(_named(home, user, environment))
    looks = [(partial(_looked, Path(path), run), None) for path in list(named)[:_MOST]]
    found = together([*looks], _LIMIT)
    return [
        {"path": path, "why": why, **about}
        for (path, why), about in zip(named.items(), found)
        if about
    ]


def _named(home: Path, user: str, environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    yield str(home), "home"
    places = {str(home)}
    for name, value in sorted(environment.items()):
        if _NAMED.fullmatch(name) and value.startswith("/") and value not in places:
            places.add(value)
            yield value.rstrip("/") or "/", f"${name}"
    for mount in mounts():
        if mount.kind in _SHARED and "ro" not in mount.options:
            for own in _OWN:
                path = f"{mount.folder}/{own.format(user=user)}"
                if path not in places:
                    yield path, f"{mount.kind} at {mount.folder}"
            if mount.folder not in places:
                yield mount.folder, f"{mount.kind} at {mount.folder}"


def _looked(path: Path, run: Runner) -> dict[str, Any] | None:
    if not (path.is_dir() and os.access(path, os.W_OK | os.X_OK)):
        return None
    mount = mount_of(path)
    space = os.statvfs(path)
    left = [quota.left for quota in quotas(path, run)]
    return {
        "kind": mount.kind if mount else "",
        "shared": mount.kind in _SHARED if mount else False,
        "free": space.f_bavail * space.f_frsize,
        "quota": min(left) if left else None,
    }


_MODELS = ("model/*", "models/*", "model/*/*", "models/*/*")
_HUB = ".cache/huggingface/hub/models--*/snapshots/*"
_TABLES = ("data/*/train.parquet", "data/train.parquet", "datasets/*/train.parquet")
_TESTS = ("test.parquet", "validation.parquet", "val.parquet", "valid.parquet", "dev.parquet")


def models(roots: list[Path]) -> list[str]:
    """Folders with a model in Hugging Face format."""
    patterns = [(root, pattern) for root in roots for pattern in (*_MODELS, _HUB)]
    return [
        str(folder)
        for root, pattern in patterns
        for folder in _some(root, pattern)
        if (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))
    ][:_MOST]


def tables(roots: list[Path]) -> list[dict[str, str]]:
    """Files to train on, each with the one to validate on beside it."""
    found = []
    for train in (one for root in roots for name in _TABLES for one in _some(root, name)):
        beside = [train.with_name(name) for name in _TESTS if train.with_name(name).is_file()]
        if beside:
            found.append({"train": str(train), "test": str(beside[0])})
    return found[:_MOST]


def _some(root: Path, pattern: str) -> list[Path]:
    try:
        return sorted(root.glob(pattern))[:400]
    except OSError:
        return []
