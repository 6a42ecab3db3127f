"""The file systems of this host: which one a path is on, and whether locks there exclude others."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Iterator, NamedTuple

MOUNTS = Path("/proc/self/mounts")
# Of a type of file system, the options that make POSIX locks local.
_LOCAL = {
    "nfs": r"nolock|local_lock=(all|posix)",
    "nfs4": r"nolock|local_lock=(all|posix)",
    "lustre": r"localflock",
    "ocfs2": r"localflocks",
    "gfs2": r"localflocks",
    "cifs": r"nobrl",
    "smb3": r"nobrl",
}
# Those of object stores know neither locks of other hosts nor hard links.
_OF_STORES = "sshfs rclone s3fs goofys mountpoint-s3 mount-s3 gcsfuse blobfuse blobfuse2"
_ALWAYS_LOCAL = tuple(f"fuse.{program}" for program in _OF_STORES.split())


class Mount(NamedTuple):
    """One line of /proc/self/mounts."""

    folder: str
    kind: str
    options: list[str]


def mounted_at(path: Path) -> str:
    """The folder at which the file system of `path` is mounted; empty if that is not known."""
    mount = mount_of(path)
    return mount.folder if mount else ""


def is_mounted(folder: str) -> bool:
    """False if no file system is mounted at `folder`; True if that is not known."""
    there = list(mounts())
    return not there or any(mount.folder == folder for mount in there)


def local_locks(path: Path) -> str:
    """Why locks below `path` do not exclude other hosts, as a message; empty if nothing is known
    against them."""
    mount = mount_of(path)
    if mount is None:
        return ""
    if mount.kind in _ALWAYS_LOCAL:
        how = f"of the type {mount.kind}"
    else:
        local = re.compile(_LOCAL.get(mount.kind, r"(?!)"))
        options = [option for option in mount.options if local.fullmatch(option)]
        if not options:
            return ""
        how = f"mounted with `{options[0]}` ({mount.kind})"
    return (
        f"{mount.folder} is {how}, so that locks there do not exclude other hosts. Put the run "
        "folder on another file system, or have this one mounted without that."
    )


def mount_of(path: Path) -> Mount | None:
    """The mount that a path is on, links followed; None if that is not known."""
    real = os.path.realpath(path)
    fitting = [
        mount
        for mount in mounts()
        if mount.folder == "/" or f"{real}/".startswith(f"{mount.folder}/")
    ]
    # Of two mounts on one folder the later one counts.
    return max(reversed(fitting), key=lambda mount: len(mount.folder), default=None)


def mounts() -> Iterator[Mount]:
    """All mounts of this host; none if they are not known."""
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        cells = line.split(" ")
        if len(cells) >= 4:
            folder = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), cells[1])
            yield Mount(folder, cells[2], cells[3].split(","))
