"""Runs a scheduler's command: bounded in time, in an environment that is the same everywhere."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Callable, List, NamedTuple

from .errors import Invalid, Missing
from .login import login_environment

_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
_USUAL_PLACES = (
    f"{_SYSTEM_PATH}:/opt/slurm/bin:/usr/local/slurm/bin:/cm/shared/apps/slurm/current/bin"
)
_OF_SLURM = ("squeue", "sbatch", "scancel", "scontrol", "sinfo", "srun", "sacct", "sacctmgr")
_LAST_WORDS = 5.0  # seconds for a killed process to close its output
_KEPT = ("SLURM_CONF", "TZ", "KRB5CCNAME")


class Result(NamedTuple):
    """How a command ended. `code` is None if it timed out."""

    code: int | None
    out: str
    err: str


Runner = Callable[[List[str], float, str], Result]  # (command, seconds, standard input)


def clean_environment(tool_folder: str) -> dict[str, str]:
    """The environment of commands and, through sbatch, of jobs: almost nothing of the caller's.

    A job must not depend on the shell, virtual environment or allocation that it was submitted
    from, and SBATCH_* variables would override the script's own directives.
    """
    name, home, shell = this_user()
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment.update(
        HOME=home,
        USER=name,
        LOGNAME=name,
        SHELL=shell or "/bin/bash",
        LANG="C.UTF-8",
        PATH=f"{tool_folder}:{_SYSTEM_PATH}",
    )
    return environment


def this_user() -> tuple[str, str, str]:
    """This user's name, home and shell. Where the directory of users does not answer for a moment,
    the session knows them."""
    try:
        user = pwd.getpwuid(os.geteuid())
    except KeyError:
        name = os.environ.get("USER") or os.environ.get("LOGNAME") or str(os.geteuid())
        return name, os.environ.get("HOME", "/"), os.environ.get("SHELL", "")
    return user.pw_name, user.pw_dir, user.pw_shell


def _usual(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=_USUAL_PLACES)


def find_tool(name: str) -> str:
    """The full path of a command: of PATH, else of the usual places, else, where none of Slurm's
    is there, of the user's login shell, whose start-up files may add a folder. Raises Missing if
    this host does not have it."""
    path = _usual(name)
    if not path and name in _OF_SLURM and not _usual(_OF_SLURM[0]):
        path = shutil.which(name, path=_path_of_the_login())
    if not path:
        raise Missing(
            f"There is no {name} on {os.uname().nodename}. The host in the group `login` must be "
            "one from which jobs are submitted; if its Slurm is in another folder, add that to "
            "PATH in the login shell's start-up file."
        )
    return path


@lru_cache(maxsize=None)
def _path_of_the_login() -> str:
    """PATH as a login has it; empty if that is not known."""
    try:
        return login_environment(this_user()[2]).get("PATH", "")
    except OSError:  # there is no such shell
        return ""


def run(command: list[str], seconds: float, stdin: str = "") -> Result:
    """Run `command` (no shell), for at most `seconds`. Raises Invalid if it cannot be started."""
    tool = find_tool(command[0])
    environment = clean_environment(str(Path(tool).parent))
    if command[0] != "sbatch":  # whose environment the job inherits
        environment["SLURM_TIME_FORMAT"] = "%s"
    try:
        done = subprocess.run(
            [tool, *command[1:]],
            input=stdin,
            capture_output=True,
            timeout=seconds,
            env=environment,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise Invalid(f"{tool} cannot be run: {error.strerror}.") from error
    except subprocess.TimeoutExpired as late:
        return Result(None, _text(late.stdout), _text(late.stderr))
    return Result(done.returncode, done.stdout, done.stderr)


def end_group(process: subprocess.Popen[str]) -> None:
    """Kill a process that leads a group, and the group, if it has not ended.

    What belongs to other users, or has left the group, stays: it must not keep this waiting.
    """
    if process.poll() is not None:
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=_LAST_WORDS)


def _text(value: str | bytes | None) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""
