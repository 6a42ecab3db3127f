"""The login node: its Python, Slurm's commands, and the folder that runs are written to."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Iterator, NamedTuple

from ..base.errors import Missing, MnrunError
from ..base.finding import FAULT, OK, WARNING, Finding
from ..base.mounts import local_locks, mount_of
from ..base.presence import is_dir
from ..base.process import Runner, find_tool
from ..base.text import size
from ..result.quota import quotas

NEEDED = ("sbatch", "squeue", "scancel", "srun")
USEFUL = ("scontrol", "sacct", "sinfo")
OLDEST = (22, 5)
"""The Slurm with which mnrun is tested."""

_SECONDS = 20.0


class Room(NamedTuple):
    """What is left for this user where runs are written, in bytes, and by which limit."""

    left: int
    by: str


def login_findings(folder: Path, run: Runner) -> Iterator[Finding]:
    """What there is to say of this host; `folder` is the one of runs, which need not exist."""
    yield Finding(OK, "login node", f"{os.uname().nodename}: Python {platform.python_version()}")
    yield from _tools(run)
    yield from _folder(folder)


def room(folder: Path, run: Runner) -> Room:
    """How much can be written there: by the file system, or by a quota that leaves less."""
    there = existing(folder)
    found = os.statvfs(there)
    rooms = [Room(found.f_bavail * found.f_frsize, f"the file system of {there}")]
    rooms += [Room(left, f"{whose} on {there}") for whose, left, _limit in quotas(there, run)]
    return min(rooms)


def existing(folder: Path) -> Path:
    """The last folder on the way to `folder` that exists. Raises OSError."""
    while not is_dir(folder):
        folder = folder.parent
    return folder


def _tools(run: Runner) -> Iterator[Finding]:
    missing = [name for name in (*NEEDED, *USEFUL) if not _is_there(name)]
    for name in missing:
        if name in NEEDED:
            text = f"there is no {name} on {os.uname().nodename}"
            advice = "name a host from which jobs are submitted, or add Slurm's folder to PATH"
            yield Finding(FAULT, "Slurm", f"{text}: {advice}", ("ansible_host",))
        else:
            yield Finding(WARNING, "Slurm", f"there is no {name}: what it knows is not checked")
    if "sbatch" in missing:
        return
    text = run(["sbatch", "--version"], _SECONDS, "").out.strip()
    version = re.search(r"(?<!\d)(\d{1,4})\.(\d{1,4})", text)
    old = version and (int(version[1]), int(version[2])) < OLDEST
    if old:
        yield Finding(WARNING, "Slurm", f"{text} is older than 22.05, the oldest that is tested")
    elif version:
        yield Finding(OK, "Slurm", text)
    else:
        yield Finding(WARNING, "Slurm", "sbatch does not report its version")


def _is_there(name: str) -> bool:
    try:
        return bool(find_tool(name))
    except Missing:
        return False


def _folder(folder: Path) -> Iterator[Finding]:
    there = existing(folder)
    mount = mount_of(there)
    why = ""
    if not os.access(there, os.W_OK | os.X_OK):
        why = "cannot be written by you"
    elif mount and "ro" in mount.options:
        why = f"is on {mount.folder}, which is mounted read-only"
    if why:
        text = f"{there} {why}: name another folder, or have that changed"
        yield Finding(FAULT, "folder", text, ("mnrun_base_dir", "mnrun_run_dir"))
    locks = local_locks(there)
    if locks:
        yield Finding(FAULT, "folder", locks, ("mnrun_base_dir", "mnrun_run_dir"))


def room_findings(folder: Path, found: Room) -> Iterator[Finding]:
    """How much is left there."""
    text = f"{folder}: {size(found.left)} left by {found.by}"
    full = found.left < 1 << 20
    yield Finding(FAULT if full else OK, "folder", text, ("mnrun_base_dir", "mnrun_run_dir"))


def findings(folder: Path, run: Runner) -> tuple[list[Finding], Room]:
    """Everything, and the room; one of no bytes where it is not known."""
    found: list[Finding] = []
    left = Room(0, "")
    try:
        found += login_findings(folder, run)
        left = room(folder, run)
        if not any(each.part == "folder" for each in found):
            found += room_findings(folder, left)
    except (MnrunError, OSError) as error:
        found.append(Finding(FAULT, "folder", f"{folder}: {error}", ("mnrun_base_dir",)))
    return found, left
