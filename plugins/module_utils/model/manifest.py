"""The manifest of a converted model: the contents of the folder, and where it comes from.

`mnrun_manifest.json` is written last, atomically: a folder without a manifest that matches it is
not a result. docs/convert.md lists the fields.

Standard library only: jobs carry a copy of this file, and of inside.py and presence.py, beside
their program.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

if __package__:
    from ..base.presence import is_file, read_text, seen
    from .inside import name_fault
else:  # in a job, which carries these files
    from inside import name_fault
    from presence import (  # type: ignore[import-not-found, no-redef]
        is_file,
        read_text,
        seen,
    )

NAME = "mnrun_manifest.json"
VERSION = 1
SMALL = 32 * 1024 * 1024  # bytes; files up to this size are read whenever a folder is checked
_CHUNK = 4 * 1024 * 1024  # bytes
_FIELDS = {
    "version": int,
    "stage": str,
    "step": int,
    "source": str,
    "fingerprint": str,
    "spec": dict,
    "training": dict,
    "base_model": dict,
    "files": dict,
    "metrics": dict,
    "versions": dict,
    "created": str,
}

Manifest = Dict[str, Any]


class NewerError(Exception):
    """A manifest was written by an mnrun after this one, which alone knows what it says."""

    def __init__(self, path: Path, version: int) -> None:
        super().__init__(
            f"{path} was written by a later mnrun (version {version} of the manifest; this mnrun "
            f"knows up to {VERSION}), so it is left as it is. Update mnrun here, and run "
            "this again."
        )


def read(folder: Path) -> Optional[Manifest]:  # noqa: UP045 - Python 3.8
    """The manifest of a folder; None if it does not exist or is not valid.

    Raises:
        OSError: it exists, perhaps, and cannot be read.
        NewerError: it is of an mnrun after this one.
    """
    try:
        data = json.loads(read_text(folder / NAME) or "")
    except (ValueError, RecursionError):
        return None
    version = data.get("version") if isinstance(data, dict) else None
    if type(version) is int and version > VERSION:
        raise NewerError(folder / NAME, version)
    return data if _is_manifest(data) else None


def faults(folder: Path, every_byte: bool = False) -> List[str]:  # noqa: UP006 - Python 3.8
    """The differences between `folder` and the converted model that its manifest describes.

    Sizes are always compared, and the content of small files. A large file with the modification
    time in the manifest is read only with `every_byte`.
    """
    manifest = read(folder)
    if manifest is None:
        there = is_file(folder / NAME)
        return [f"{folder / NAME} is {'damaged' if there else 'missing'}"]
    missing = [] if manifest["files"] else [f"{folder / NAME} names no files"]
    checked = [
        _file_fault(folder / name, entry, every_byte) for name, entry in manifest["files"].items()
    ]
    return missing + [fault for fault in checked if fault]


def write(folder: Path, about: Manifest) -> Manifest:
    """Describe all files that are in `folder` now, and write the manifest, last and atomically.

    Args:
        folder: the converted model.
        about: every field of a manifest but `version`, `files` and `created`.

    Returns:
        The manifest.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: a field is missing or of another type.
    """
    found = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != NAME)
    manifest = {
        **about,
        "version": VERSION,
        "files": {path.relative_to(folder).as_posix(): _entry(path) for path in found},
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    if not _is_manifest(manifest):
        wrong = [name for name, kind in _FIELDS.items() if not isinstance(manifest.get(name), kind)]
        raise ValueError(f"a manifest lacks {', '.join(wrong)}, or they are of another type")
    _write_whole(folder / NAME, json.dumps(manifest, indent=1) + "\n")
    return manifest


def sha256(path: Path) -> str:
    """SHA-256 (hexadecimal) of a whole file. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for chunk in iter(lambda: stream.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def _is_manifest(data: Any) -> bool:
    if not isinstance(data, dict) or data.get("version") != VERSION:
        return False
    if not all(isinstance(data.get(name), kind) for name, kind in _FIELDS.items()):
        return False
    return all(_is_entry(name, entry) for name, entry in data["files"].items())


def _is_entry(name: str, entry: Any) -> bool:
    """A name within the folder, with a size and a checksum."""
    return (
        not name_fault(name)
        and isinstance(entry, dict)
        and isinstance(entry.get("size"), int)
        and isinstance(entry.get("sha256"), str)
    )


def _entry(path: Path) -> Dict[str, Any]:  # noqa: UP006 - Python 3.8
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
    found = path.stat()
    return {"size": found.st_size, "sha256": sha256(path), "mtime_ns": found.st_mtime_ns}


def _file_fault(path: Path, entry: Dict[str, Any], every_byte: bool) -> str:  # noqa: UP006
    try:
        found = seen(path.stat)
    except ValueError:  # no file can have that name
        found = None
    if found is None:
        return f"{path} is missing"
    if found.st_size != entry["size"]:
        return f"{path} has {found.st_size} bytes; according to the manifest, {entry['size']}"
    untouched = found.st_mtime_ns == entry.get("mtime_ns")
    if untouched and found.st_size > SMALL and not every_byte:
        return ""
    if seen(lambda: sha256(path)) != entry["sha256"]:
        return f"{path} is damaged: its content differs from the manifest"
    return ""


def _write_whole(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with part.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)
    handle = os.open(str(path.parent), os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        pass  # some network file systems do not sync folders
    finally:
        os.close(handle)
