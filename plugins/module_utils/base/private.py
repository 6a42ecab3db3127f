"""Whether other users could change a run folder, and with it what runs as this one."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

from .errors import Refused
from .presence import seen

_TO_SHARE = (
    "If your team shares the folder, and each member may change what runs as the others, set "
    "mnrun_run_folder_shared: true."
)


def claim_private(run_dir: Path, *inside: str, write: bool) -> None:
    """With `write`, make the run folder if there is none; only this user can write to it, and to
    all that this process makes from now on, whatever the umask was.

    Raises Refused if anyone but this user and root can write to it or to a folder named `inside`,
    or replace it: as ssh does with its own.
    """
    place = Path(os.path.realpath(run_dir))
    for path in (place, *(place / name for name in inside)):
        fault = _fault(path)
        if fault:
            raise Refused(f"The run folder is not yours alone: {path} {fault}. {_TO_SHARE}")
    for path in place.parents:
        status = seen(path.stat)
        if status and status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
            raise Refused(
                f"The run folder is not yours alone: everyone can rename what is in {path} (mode "
                f"{stat.S_IMODE(status.st_mode):04o}). {_TO_SHARE}"
            )
    if write:
        os.umask(os.umask(0o077) & 0o077 | 0o022)  # its owner may always do all
        os.makedirs(place, exist_ok=True)  # noqa: PTH103 - its error names the folder


def warnings_above(run_dir: Path) -> list[str]:
    """Who else can rename a folder above the run folder, and put another in its place: a group or
    the owner of one, as where a team has a folder of its own. Raises OSError if that is unknown."""
    place = Path(os.path.realpath(run_dir))
    known = ((path, _who_renames(path)) for path in place.parents)
    return [
        f"The run folder is not yours alone: {who} can rename what is in {path}. {_TO_SHARE}"
        for path, who in known
        if who
    ][:1]


def _who_renames(path: Path) -> str:
    """Who else can rename what is in a folder; where it is sticky, only its owner."""
    status, me = seen(path.stat), os.geteuid()
    if status is None:
        return ""
    mode = f"(mode {stat.S_IMODE(status.st_mode):04o})"
    if status.st_uid not in (me, 0):
        return f"{_user(status.st_uid)}, its owner,"
    by_group = status.st_mode & stat.S_IWGRP and not status.st_mode & stat.S_ISVTX
    if by_group and not _is_own_group(status.st_gid, me):
        return f"the group {_group(status.st_gid)} {mode}"
    return ""


def _fault(path: Path) -> str:
    status = seen(path.stat)
    if status is None:
        return ""
    me = os.geteuid()
    if status.st_uid not in (me, 0):
        return f"belongs to {_user(status.st_uid)}"
    mode = f"(mode {stat.S_IMODE(status.st_mode):04o}; chmod go-w {path})"
    if status.st_mode & stat.S_IWOTH:
        return f"can be written by everyone {mode}"
    if status.st_mode & stat.S_IWGRP and not _is_own_group(status.st_gid, me):
        return f"can be written by the group {_group(status.st_gid)} {mode}"
    return ""


def _is_own_group(gid: int, uid: int) -> bool:
    """True for a group of the user's own name with no other member, as many systems give one to
    each user."""
    try:
        group, user = grp.getgrgid(gid), pwd.getpwuid(uid)
    except KeyError:
        return False
    return group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def _user(uid: int) -> str:
    try:
        return f"the user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"the user with uid {uid}"


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
