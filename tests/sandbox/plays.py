"""Plays over the sandbox as a user starts them, and programs in its training environment."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .conftest import ROOT, Cluster


def play(playbook: str | Path, variables: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Run a playbook over the sandbox's inventory, from the root of the project."""
    command = [str(Path(sys.executable).with_name("ansible-playbook")), str(playbook)]
    command += ["-i", "inventory/sandbox", "-e", json.dumps(variables)]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@contextmanager
def controller(variables: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """The play ray.yml in a process group of its own, to be killed at some moment."""
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "tests/sandbox/ray.yml"]
    process = subprocess.Popen(
        [*command, "-i", "inventory/sandbox", "-e", json.dumps(variables)],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def message(done: subprocess.CompletedProcess[str]) -> str:
    """What the task that failed said, as a user reads it."""
    assert done.returncode != 0, done.stdout
    found = re.search(r"\[ERROR\]: (.*?)\nOrigin: ", done.stdout + done.stderr, re.DOTALL)
    assert found, done.stdout + done.stderr
    return found.group(1)


def result(text: str) -> Any:
    """What a play printed as `RESULT:`, which is JSON in base64."""
    found = re.search(r"RESULT:(\S+?):", text)
    assert found, text
    return json.loads(base64.b64decode(found[1]))


def in_environment(sandbox: Cluster, program: str, given: Any, timeout: float = 90) -> Any:
    """Run one of `files/` in the training environment, with the collection on its path. It reads
    JSON and prints JSON."""
    python = Path(sandbox.run("readlink -f conda_env"), "bin", "python")
    done = subprocess.run(
        [python, Path(__file__).parent / "files" / program],
        env={**os.environ, "PYTHONPATH": str(ROOT / "collections")},
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
