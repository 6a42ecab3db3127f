"""Build a training environment of the sandbox once: a trainer, torch and what they need.

It is for CPU, or with --gpu for GPUs.

    install.py --root /var/lib/mnrun-sandbox/envs [--trainer verl-0.9] [--gpu]
        [--torch /opt/torch/bin/python3] [--wheels DIR]

prints one JSON line on stdout, ``{"path": "<root>/<hash>", "changed": true}``, and its progress
on stderr. Each trainer has a lock file for each version of Python. ``<hash>`` is that of the lock
file and of the Python: another lock is another environment, beside the old one. The shim is
kept up to date inside it, so that a fixed shim needs no new build. An environment is complete when
its marker is there, which is written last; what a killed run left half built is removed and built
again.

With --torch, a Python of this machine, the environment has that Python and shares its torch, and
what that needs, by links. With --wheels, nothing comes from the network: a package that the folder
lacks is taken from the Python of --torch.

Exit code 1 and one clear message on stderr when something cannot be done.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import env_locks
from env_build import build, site_packages
from env_command import InstallError, say, write_atomically
from env_locks import environment_hash, planned
from env_shim import sync_shim

TRAINER = "verl-0.5"
MARKER = ".mnrun-complete"


@contextlib.contextmanager
def only_one(root: Path) -> Iterator[None]:
    """Hold the build lock; a second installer waits here, then finds the work done."""
    with (root / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another installer is at work here: waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def install(root: Path, trainer: str = TRAINER, python: str = "", gpu: bool = False,
            wheels: str = "") -> tuple[Path, bool]:  # fmt: skip
    """Make sure that the environment is there and complete; return its path and what changed."""
    plan = planned(trainer, python, gpu, wheels)
    root.mkdir(parents=True, exist_ok=True)
    path = root / environment_hash(plan.python, plan.lock.read_bytes(), plan.device)
    with only_one(root):
        missing = not (path / MARKER).exists()
        if missing:
            build(path, plan)
        changed = sync_shim(site_packages(path), env_locks.HERE, gpu)
        if missing:
            os.sync()
            write_atomically(path / MARKER, b"")
    return path, missing or changed


def main() -> int:
    """Read the arguments, install, and print the result as JSON."""
    parser = argparse.ArgumentParser(description="Build a training environment of the sandbox.")
    parser.add_argument("--root", type=Path, required=True, help="folder of the environments")
    parser.add_argument("--trainer", default=TRAINER, help=f"whose environment ({TRAINER})")
    parser.add_argument("--torch", default="", help="a Python of this machine whose torch to use")
    parser.add_argument("--gpu", action="store_true", help="for GPUs, not for CPU")
    parser.add_argument("--wheels", default="", help="a folder of wheels: nothing from the network")
    given = parser.parse_args()
    os.umask(0o022)
    try:
        path, changed = install(
            given.root.absolute(), given.trainer, given.torch, given.gpu, given.wheels
        )
    except (InstallError, OSError) as error:
        print(f"The training environment could not be built: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"path": str(path), "changed": changed}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
