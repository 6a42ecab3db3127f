"""Where a new inventory is written, and how its login node is reached."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mnrun.errors import CliError, UsageError
from mnrun.variables import read

ANSWERS = (
    "mnrun_partition", "account", "mnrun_nodes", "mnrun_gpus_per_node", "environment_conda_prefix",
    "mnrun_base_dir", "mnrun_model", "mnrun_train_files", "mnrun_test_files",
)  # fmt: skip
"""Variables that -e answers beforehand; `account` is that of mnrun_sbatch."""

_SECRET = re.compile(r"ansible_\w*pass\w*")
_IN_A_PATH = re.compile(r"""[\s"'\\$`,;&|<>*?!()\[\]{}#]""")
_SECONDS = 10


@dataclass(frozen=True)
class Target:
    """What was asked on the command line."""

    folder: Path
    name: str
    """Of the login node in the inventory."""
    host: str
    """As a user names it for ssh; empty: this machine."""
    variables: Mapping[str, Any]
    """How Ansible reaches it."""
    comments: Mapping[str, str]
    answers: Mapping[str, str] = field(default_factory=dict)


def target(folder: str, login: str | None, extra_vars: Sequence[str]) -> Target:
    """Return what a command line asks for.

    Raises:
        UsageError: the folder is there already, or a variable may not be given.
    """
    given = {name: value for text in extra_vars for name, value in _given(text).items()}
    connection = {name: given.pop(name) for name in list(given) if name.startswith("ansible_")}
    for name in connection:
        if _SECRET.fullmatch(name):
            raise UsageError(f"-e {name}: the inventory would hold it in clear. Let ssh use a key.")
    unknown = [name for name in given if name not in ANSWERS]
    if unknown:
        raise UsageError(
            f"-e {', '.join(unknown)}: mnrun init takes variables of the connection (ansible_*), "
            f"and answers: {', '.join(ANSWERS)}. Others go into the inventory afterwards."
        )
    answers = {name: str(value) for name, value in given.items()}
    for name, value in answers.items():
        wrong = refuse_unsafe(name, value)
        if wrong:
            raise UsageError(f"-e {name}={value}: {wrong}")
    path = _free(Path(folder).expanduser().absolute())
    if not login:
        here = {"ansible_host": "localhost", "ansible_connection": "local", **connection}
        from_a_laptop = {"ansible_connection": "from a laptop: ssh, and ansible_host its ssh name"}
        return Target(path, "login-node", "", here, from_a_laptop, answers)
    user, _, host = login.rpartition("@")
    if not re.fullmatch(r"[A-Za-z0-9_.:%-]+", host) or host.startswith("-"):
        raise UsageError(f"--login {login}: give the name by which ssh knows the login node.")
    variables = {"ansible_host": host, **({"ansible_user": user} if user else {}), **connection}
    comments: dict[str, str] = {}
    if "ansible_ssh_args" not in variables and _has_an_open_connection(login):
        variables["ansible_ssh_args"] = "-o BatchMode=yes"
        comments["ansible_ssh_args"] = "your own open connection (ControlPath of ~/.ssh/config)"
    name = host if re.fullmatch(r"[a-z][a-z0-9.-]*", host) and host not in _TAKEN else "login-node"
    return Target(path, name, login, variables, comments, answers)


_TAKEN = ("all", "login", "localhost", "ungrouped")


def _given(text: str) -> dict[str, Any]:
    if text.startswith("@"):
        raise UsageError(f"-e {text}: mnrun init reads no files; give NAME=VALUE.")
    return read(text)


def _free(path: Path) -> Path:
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UsageError(
            f"{path} is there already, and is left as it is. Choose another folder:  "
            f"mnrun init {path}-2\nTo use that one:  export MNRUN_INVENTORY={path}"
        )
    return path


def _has_an_open_connection(login: str) -> bool:
    """Whether ssh shares a connection to the host, as where a second factor is asked."""
    if not shutil.which("ssh"):
        return False
    try:
        done = subprocess.run(
            ["ssh", "-O", "check", login],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Reports an error of the file system as one of writing `path`."""
    try:
        yield
    except OSError as error:
        raise CliError(f"{path} could not be written: {error.strerror or error}") from error


@contextmanager
def partial(path: Path) -> Iterator[Path]:
    """A folder beside `path`, which becomes it at the end; until then, and after an error or an
    interruption, nothing is at `path`."""
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield part
        with writing(path):
            part.chmod(0o755)
            part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def refuse_unsafe(name: str, value: str) -> str:
    """Return why a typed value cannot be used; empty if it can."""
    if name in ("mnrun_nodes", "mnrun_gpus_per_node") and not re.fullmatch(
        "[1-9][0-9]{0,4}", value
    ):
        return "give a number"
    if _IN_A_PATH.search(value):
        return "it may have no blanks and none of \" ' \\ $ ` , ; & | < > * ? ! ( ) [ ] { } #"
    return ""
