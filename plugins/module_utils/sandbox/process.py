"""Commands, waiting, and what the kernel says about processes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Callable, Mapping, Sequence

from ..base.clock import Clock, Deadline
from .errors import SandboxError

TCP_LISTEN = "0A"
# Nothing of the caller's: the environment of a daemon must not depend on who starts it.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


def run(
    argv: Sequence[str],
    timeout: float = 30,
    feed: str | None = None,
    check: bool = True,
    extra: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; `feed` goes to its input, `extra` is added to its environment.

    Raises SandboxError when it cannot be started, takes longer than `timeout` seconds or, with
    `check`, fails.
    """
    try:
        done = subprocess.run(
            list(argv),
            input=feed,
            stdin=subprocess.DEVNULL if feed is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
            env={**ENVIRONMENT, **(extra or {})},
        )
    except FileNotFoundError as error:
        raise SandboxError(f"{argv[0]}: not found; run `mnrun sandbox up` to install it") from error
    except subprocess.TimeoutExpired as error:
        raise SandboxError(f"{' '.join(argv)}: no end after {timeout:g} s") from error
    if check and done.returncode:
        raise SandboxError(f"{' '.join(argv)}: exit code {done.returncode}: {done.stdout.strip()}")
    return done


def detached(argv: Sequence[str], output: int, errors: int, timeout: float = 30) -> None:
    """Start a program that leaves this process by itself, by forking.

    Raises SandboxError when it stays longer than `timeout` seconds or ends with an error.
    """
    try:
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            timeout=timeout,
            check=False,
            cwd="/",
            env=ENVIRONMENT,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as error:
        raise SandboxError(f"{' '.join(argv)}: no end after {timeout:g} s") from error
    if done.returncode:
        raise SandboxError(f"{' '.join(argv)}: exit code {done.returncode}")


def wait_until(
    done: Callable[[], bool],
    timeout: float,
    what: Callable[[], str],
    clock: Clock,
    interval: float = 0.02,
) -> None:
    """Look every `interval` seconds until `done`.

    Raises SandboxError with the text of `what` after `timeout` seconds.
    """
    deadline = Deadline(clock, timeout)
    while not done():
        if deadline.over():
            raise SandboxError(f"{what()} (waited {timeout:g} s)")
        deadline.pause(interval)


def pids() -> list[int]:
    """All process ids of this machine."""
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def read(path: str) -> str:
    """Return a file's text, or nothing when it is not there or its process has ended."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return ""


def arguments(pid: int) -> list[str]:
    """The command line of a process; empty for one that has ended."""
    return read(f"/proc/{pid}/cmdline").split("\0")[:-1]


def status(pid: int) -> dict[str, str]:
    """The fields of /proc/PID/status; empty for a process that has ended."""
    lines = (line.partition(":") for line in read(f"/proc/{pid}/status").splitlines())
    return {key: value.strip() for key, _, value in lines}


def ended(pid: int) -> bool:
    """Whether a process has ended, and with a first process also all of its pid namespace."""
    state = status(pid).get("State", "X")
    return state[:1] in "XZ"


def inner_name(node_pid: int, pid_file: str) -> str:
    """The name of the process that a pid file of a node names, or nothing if it is dead.

    `node_pid` is the node's first process as this machine counts; the file's path and the
    number in it are the node's own.
    """
    number = read(f"/proc/{node_pid}/root{pid_file}").strip()
    if not number.isdigit():
        return ""
    fields = read(f"/proc/{node_pid}/root/proc/{number}/status")
    if not fields or "\nState:\tZ" in fields:
        return ""
    return fields.split("\n", 1)[0].partition("\t")[2]


def listening(node_pid: int, port: int) -> bool:
    """Whether something listens on a TCP port in the network of a process."""
    ending = f":{port:04X}"
    for line in read(f"/proc/{node_pid}/net/tcp").splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(ending) and fields[3] == TCP_LISTEN:
            return True
    return False
