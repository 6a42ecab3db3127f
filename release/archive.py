"""A collection's archive that has the same bytes wherever and whenever it is built.

`ansible-galaxy collection build` writes the present time, the builder's modes and the order of the
file system into it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

_MANIFEST, _FILES = "MANIFEST.json", "FILES.json"


def normalise(archive: Path, epoch: int) -> None:
    """Rewrite a collection's tar.gz in place. `epoch`: the time of all files, in seconds."""
    with tarfile.open(archive) as found:
        members = {member.name: member for member in found.getmembers()}
        texts = {
            name: stream.read()
            for name, member in members.items()
            if (stream := found.extractfile(member)) is not None and member.isreg()
        }
    texts.update(_sorted(texts))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as out:
        for name in sorted(members, key=_first):
            out.addfile(*_plain(members[name], texts.get(name), epoch))
    # No name and no time in the header.
    archive.write_bytes(gzip.compress(packed.getvalue(), mtime=0))


def _first(name: str) -> tuple[bool, str]:
    return name not in (_MANIFEST, _FILES), name


def _sorted(texts: dict[str, bytes]) -> dict[str, bytes]:
    """The list of files in order, and the manifest that has its checksum."""
    files = json.loads(texts[_FILES])
    files["files"].sort(key=lambda one: (one["name"] != ".", one["name"]))
    listed = _json(files)
    manifest = json.loads(texts[_MANIFEST])
    manifest["file_manifest_file"]["chksum_sha256"] = hashlib.sha256(listed).hexdigest()
    return {_FILES: listed, _MANIFEST: _json(manifest)}


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=True).encode()


def _plain(
    member: tarfile.TarInfo, text: bytes | None, epoch: int
) -> tuple[tarfile.TarInfo, io.BytesIO | None]:
    """A file's entry without what differs between builders."""
    plain = tarfile.TarInfo(member.name)
    plain.type, plain.linkname, plain.mtime = member.type, member.linkname, epoch
    plain.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    if text is None:
        return plain, None
    plain.size = len(text)
    return plain, io.BytesIO(text)
