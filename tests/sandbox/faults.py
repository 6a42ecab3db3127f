"""A command that runs while a test breaks something under it, and ways to break things."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT, Cluster, playbook


class Running:
    """`mnrun ARGUMENTS -i inventory/sandbox` in the background, with its output in a file."""

    def __init__(self, log: Path, arguments: tuple[str, ...], variables: dict[str, Any]) -> None:
        self._log = log
        argv = [sys.executable, "-m", "mnrun", *arguments, "-i", "inventory/sandbox"]
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [*argv, "-e", json.dumps(variables)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def until(self, pattern: str, timeout: float = 200) -> re.Match[str]:
        """Wait until the output holds a pattern."""
        deadline = time.monotonic() + timeout
        while not (found := re.search(pattern, self.text)):
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"no {pattern!r} in:\n{self.text}")
            time.sleep(0.2)
        return found

    def end(self, timeout: float = 400) -> tuple[int, str]:
        """Wait for its end; the exit code and all that it printed."""
        code = self.process.wait(timeout)
        return code, self.text


@contextmanager
def running(log: Path, *arguments: str, **variables: Any) -> Iterator[Running]:
    """Start a command, and leave nothing of it behind."""
    command = Running(log, arguments, variables)
    try:
        yield command
    finally:
        if command.process.poll() is None:
            os.killpg(command.process.pid, signal.SIGINT)
            try:
                command.process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(command.process.pid, signal.SIGKILL)


def kill_node(cluster: Cluster, node: str) -> None:
    """As if its power were cut: the node's first process is killed, and all others with it."""
    os.kill(_first_of(cluster, node), signal.SIGKILL)


def signal_slurmctld(cluster: Cluster, word: str) -> None:
    """Send a signal (STOP, CONT) to Slurm's controller."""
    enter = ["nsenter", "--target", str(_first_of(cluster, "osk-ctl")), "--mount", "--pid"]
    line = f"kill -{word} $(cat /run/slurmctld.pid)"
    subprocess.run([*enter, "sh", "-c", line], check=True, timeout=10)


def _first_of(cluster: Cluster, node: str) -> int:
    """The first process of a node, as this machine numbers it."""
    start = f"/usr/bin/python3 -IS {cluster.directory}/bin/init.py node {cluster.directory} {node} "
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().decode().replace("\0", " ")
        except (OSError, UnicodeDecodeError):
            continue
        if words.startswith(start):
            return int(entry.name)
    pytest.fail(f"{node} does not run")


def mend(cluster: Cluster) -> None:
    """Bring back what was killed, and wait until Slurm uses all nodes again."""
    playbook("playbooks/sandbox_up.yml", "-i", "inventory/sandbox", timeout=300)
    cluster.wait("sinfo -h -o %T | sort -u | tr '\\n' ' '", r"^(idle|mixed|allocated| )+$", 90)


def record(cluster: Cluster, folder: str, stage: str) -> dict[str, Any]:
    """The record of a stage of a run that has one spec."""
    (path,) = cluster.run(f"ls {folder}/.mnrun/{stage}/*/record.json").split()
    found: dict[str, Any] = json.loads(cluster.run(f"cat {path}"))
    return found
