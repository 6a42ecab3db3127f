"""What is built: from which lock, by which Python, for which device, and how that is called."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from typing import NamedTuple

import env_command
from env_command import InstallError

HERE = Path(__file__).resolve().parent
# The system's Python: one below /root (pyenv, conda) cannot be run by the cluster's user.
PYTHON = Path("/usr/bin/python3")


class Plan(NamedTuple):
    """What is built: from which lock, by which Python, for which device.

    `shared` is the version of the Python's torch if that is used, `wheels` the folder that all
    packages are in, if there is no network.
    """

    python: Path
    lock: Path
    gpu: bool = False
    shared: str = ""
    wheels: Path | None = None

    @property
    def device(self) -> str:
        """What the environment trains on: each has environments of its own."""
        return f"gpu {self.shared}".strip() if self.gpu else "cpu"

    @property
    def packages(self) -> list[str]:
        """pip's options for where packages come from."""
        return ["--no-index", "--find-links", str(self.wheels)] if self.wheels else []


def environment_hash(python: Path, lock_text: bytes, device: str = "cpu") -> str:
    """Name the environment: 16 hex digits of the lock file and of the Python's build."""
    stat = python.stat()
    other = "" if device == "cpu" else f" {device}"
    identity = f"{python} {stat.st_size}{other}".encode()
    return hashlib.sha256(identity + b"\0" + lock_text).hexdigest()[:16]


ASK = """
import sys
from importlib import metadata
print("python%d.%d" % sys.version_info[:2], metadata.version("torch"))
"""


def asked(python: Path) -> tuple[Path, str]:
    """How a shared Python would be called in /usr/bin, and the version of its torch."""
    name, torch = env_command.run([str(python), "-c", ASK], time.monotonic() + 60).split()[-2:]
    return Path("/usr/bin", name), torch


def planned(trainer: str, python: str, gpu: bool, wheels: str) -> Plan:
    """What the command line asks for."""
    folder = Path(wheels).absolute() if wheels else None
    if python:
        name, torch = asked(Path(python))
        return Plan(Path(python), lock_of(trainer, name), gpu, torch, folder)
    if not PYTHON.exists():
        raise InstallError(f"{PYTHON} is missing: apt-get install python3 python3-venv")
    own = PYTHON.resolve()
    return Plan(own, lock_of(trainer, own), gpu, "", folder)


def lock_of(trainer: str, python: Path) -> Path:
    """Return a trainer's lock file for a Python, which is called as /usr/bin/python3.11 is."""
    lock = HERE / f"{trainer}-{python.name.removeprefix('python')}.lock"
    if lock.exists():
        return lock
    locks = sorted(HERE.glob(f"{trainer}-*.lock"))
    if not locks:
        raise InstallError(f"there is no trainer {trainer}, only {', '.join(trainers())}")
    known = ", ".join(path.stem.removeprefix(f"{trainer}-") for path in locks)
    raise InstallError(f"the packages of {trainer} are for Python {known}, and this is {python}")


def trainers() -> list[str]:
    """Return the names of all trainers."""
    return sorted({path.stem.rpartition("-")[0] for path in HERE.glob("*.lock")})


def pins(lock_file: Path) -> dict[str, str]:
    """The lines of a lock file by their packages' names."""
    lines = lock_file.read_text().split()
    return {canonical(line.split("==")[0]): line for line in lines}


def canonical(name: str) -> str:
    """A package's name as pip compares them."""
    return re.sub(r"[-_.]+", "-", name).lower()


def torch_requirement(lock_file: Path) -> str:
    """Return the lock file's line for torch, such as ``torch==2.13.0``."""
    for line in lock_file.read_text().splitlines():
        if line.startswith("torch=="):
            return line.strip()
    raise InstallError(f"{lock_file} has no line torch==VERSION")
