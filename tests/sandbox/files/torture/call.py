"""One call of a module, ended by SIGKILL at a named point; `cases.py` starts it.

Every call of a function by which the module touches the world (files, the lock, Slurm's commands,
Ray's job API) has two points: before it and after it. The product has no line for this.

usage: call.py JSON, with module, arguments, quiet (seconds, instead of the backend's quiet window),
point (where to end; empty: nowhere), unlocked (if true, locks exclude nobody), fill (a file that
uses up the disk there, instead of the end)
and passed (the file to which the points are written that were passed).
"""

import fcntl
import functools
import importlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path

from ansible.module_utils.testing import patch_module_args

TRAIN = "ansible_collections.mnrun.train.plugins"
WRAPPED = [
    *((os, name) for name in ("mkdir", "rename", "replace", "link", "unlink", "rmdir", "fsync")),
    (fcntl, "lockf"),
    (io, "open"),
    (subprocess, "run"),
    (subprocess.Popen, "communicate"),
    (urllib.request.OpenerDirector, "open"),
]


class Points:
    """Counts the points, and ends the process at one of them."""

    def __init__(self, target, passed, fill):
        self.target, self.passed, self.fill = target, passed, fill
        self.seen: Counter[str] = Counter()

    def at(self, name):
        self.seen[name] += 1
        point = f"{name} #{self.seen[name]}"
        os.write(self.passed, f"{point}\n".encode())
        if point == self.target and self.fill:
            fill(self.fill)
        elif point == self.target:
            os.kill(os.getpid(), signal.SIGKILL)

    def wrap(self, owner, name):
        real = getattr(owner, name)

        @functools.wraps(real)
        def wrapped(*arguments, **keywords):
            said = title(name, arguments)
            if said is None:
                return real(*arguments, **keywords)
            self.at(f"before {said}")
            try:
                return real(*arguments, **keywords)
            finally:
                self.at(f"after {said}")

        setattr(owner, name, wrapped)


def fill(path):
    """Use up the disk."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(handle, b"x" * 4096)
    except OSError:
        os.close(handle)


def title(name, arguments):
    """What a call does, the same in each run; None for what only reads."""
    if name == "run":
        return Path(arguments[0][0]).name
    if name == "communicate":
        return f"answer of {Path(arguments[0].args[0]).name}"
    if isinstance(arguments[0], urllib.request.OpenerDirector):
        request = arguments[1]
        return f"{request.get_method()} {re.sub(r'[0-9a-f]{8}-[0-9]+', '', request.selector)}"
    if name == "open":
        mode = arguments[1] if len(arguments) > 1 else "r"
        if isinstance(arguments[0], int) or not set(mode) & set("wax+"):
            return None
    if name in ("lockf", "fsync"):
        handle = arguments[0] if isinstance(arguments[0], int) else arguments[0].fileno()
        target = Path(f"/proc/self/fd/{handle}").readlink()
    else:
        target = arguments[0]
    base = re.sub(r"\.[0-9a-f]{8,16}$|^[0-9a-f]{12}$", "", Path(target).name)
    kind = "unlock" if name == "lockf" and arguments[1] == fcntl.LOCK_UN else name
    return f"{kind} {base.lstrip('.') or 'folder'}"


def main():
    given = json.loads(sys.argv[1])
    module = importlib.import_module(f"{TRAIN}.modules.{given['module']}")
    for kind, names in (("slurm", ["SlurmBackend"]), ("ray", ["RayRecords", "RayBackend"])):
        backend = importlib.import_module(f"{TRAIN}.module_utils.{kind}.backend")
        for name in names if given["quiet"] else ():
            getattr(backend, name).quiet_window = given["quiet"]
    passed = os.open(given["passed"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    if given.get("unlocked"):  # as on a file system whose locks do not exclude
        fcntl.lockf = lambda *_arguments: None
    with patch_module_args(given["arguments"]):
        points = Points(given["point"], passed, given.get("fill", ""))
        for owner, name in WRAPPED:
            points.wrap(owner, name)
        points.at("start")
        module.main()


if __name__ == "__main__":
    main()
