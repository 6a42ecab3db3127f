"""Build a training environment of the sandbox once: a trainer, torch and what they need, for CPU.

    install.py --root /var/lib/mnrun-sandbox/envs [--trainer verl-0.9]

prints one JSON line on stdout, ``{"path": "<root>/<hash>", "changed": true}``, and its progress
on stderr. Each trainer has a lock file for each version of Python. ``<hash>`` is that of the lock
file and of the Python: another lock is another environment, beside the old one. The CPU shim is
kept up to date inside it, so that a fixed shim needs no new build. An environment is complete when
its marker is there, which is written last; what a killed run left half built is removed and built
again.

Exit code 1 and one clear message on stderr when something cannot be done.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHIM = (
    "mnrun_cpu.dist-info/METADATA",
    "mnrun_cpu.dist-info/entry_points.txt",
    "mnrun_cpu_patches.py",
    "mnrun_cpu_platform.py",
    "mnrun_cpu_rollout.py",
    "mnrun_cpu_shim.py",
    "mnrun_cpu_shim.pth",
)
TRAINER = "verl-0.5"
# The system's Python: one below /root (pyenv, conda) cannot be run by the cluster's user.
PYTHON = Path("/usr/bin/python3")
# PyPI's torch brings 3 GB of CUDA. Its CPU build comes from pip's own indexes if they have it, else
# from here, if this machine gets there.
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
MARKER = ".mnrun-complete"
TOTAL_SECONDS = 1800
TAIL_LINES = 15


class InstallError(Exception):
    """Something that stops the build, as a message for the user."""


def say(text: str) -> None:
    """Show one progress line."""
    print(f"[environment] {text}", file=sys.stderr, flush=True)


def environment_hash(python: Path, lock_text: bytes) -> str:
    """Name the environment: 16 hex digits of the lock file and of the Python's build."""
    stat = python.stat()
    identity = f"{python} {stat.st_size}".encode()
    return hashlib.sha256(identity + b"\0" + lock_text).hexdigest()[:16]


def run(command: list[str], deadline: float) -> None:
    """Run one command of the build; on failure raise with the end of its output."""
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            timeout=max(1.0, deadline - time.monotonic()),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InstallError(f"not done after {TOTAL_SECONDS} s: {' '.join(command)}") from None
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-TAIL_LINES:])
        raise InstallError(f"this failed (exit {done.returncode}): {' '.join(command)}\n{tail}")


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


def build(path: Path, python: Path, lock_file: Path) -> None:
    """Make the virtual environment at ``path`` from nothing, all but its marker."""
    if path.exists():
        say("an unfinished environment is here: starting over")
        shutil.rmtree(path)
    deadline = time.monotonic() + TOTAL_SECONDS
    run([str(python), "-m", "venv", str(path)], deadline)
    pip = [str(path / "bin" / "python"), "-m", "pip", "install", "--no-compile"]
    torch = torch_requirement(lock_file)
    # By itself and first: pip then picks the CPU build of exactly this version.
    say("1/3 torch")
    source = [] if has_cpu_build(pip, torch, deadline) else cpu_index()
    run([*pip, *source, "--constraint", str(lock_file), torch], deadline)
    say(f"2/3 {lock_file.stem} and what it needs")
    # --no-deps: the set is locked as a whole; resolving it takes pip more than ten minutes.
    run([*pip, "--no-deps", "--requirement", str(lock_file)], deadline)
    say("3/3 compiling")
    # The cluster's user cannot write here, so each import of theirs would compile again.
    # A few packages ship templates that are not valid Python, for which compileall exits with 1.
    with contextlib.suppress(InstallError):
        run([str(path / "bin" / "python"), "-m", "compileall", "-q", "-j0", str(path)], deadline)


def torch_requirement(lock_file: Path) -> str:
    """Return the lock file's line for torch, such as ``torch==2.13.0``."""
    for line in lock_file.read_text().splitlines():
        if line.startswith("torch=="):
            return line.strip()
    raise InstallError(f"{lock_file} has no line torch==VERSION")


def has_cpu_build(pip: list[str], torch: str, deadline: float) -> bool:
    """Return True if pip, as this machine configures it, finds the CPU build by itself."""
    try:
        run([*pip, "--dry-run", "--no-deps", f"{torch}+cpu"], deadline)
    except InstallError:
        return False
    return True


def cpu_index() -> list[str]:
    """Return pip's option for PyTorch's index of CPU builds; none where it does not answer."""
    request = urllib.request.Request(f"{CPU_INDEX}/torch/", method="HEAD")  # noqa: S310 - https
    try:
        with urllib.request.urlopen(request, timeout=5):  # noqa: S310 - https
            return ["--extra-index-url", CPU_INDEX]
    except OSError:
        return []


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


def site_packages(path: Path, python: Path) -> Path:
    """Return where the environment at ``path`` keeps its packages."""
    return path / "lib" / python.name / "site-packages"


def write_atomically(target: Path, content: bytes) -> None:
    """Replace ``target`` in one step, readable by all."""
    fresh = target.with_name(f"{target.name}.{os.getpid()}")
    fresh.write_bytes(content)
    fresh.chmod(0o644)
    fresh.replace(target)


def sync_shim(packages: Path, source: Path) -> bool:
    """Copy the CPU shim's files where they differ; return whether any did."""
    changed = False
    # The .pth line that imports them comes last: no Python starts with half a shim.
    for name in SHIM:
        content, target = (source / name).read_bytes(), packages / name
        if not target.exists() or target.read_bytes() != content:
            target.parent.mkdir(exist_ok=True)
            write_atomically(target, content)
            changed = True
    return changed


def install(root: Path, trainer: str = TRAINER) -> tuple[Path, bool]:
    """Make sure that the environment is there and complete; return its path and what changed."""
    if not PYTHON.exists():
        raise InstallError(f"{PYTHON} is missing: apt-get install python3 python3-venv")
    python = PYTHON.resolve()
    lock_file = lock_of(trainer, python)
    root.mkdir(parents=True, exist_ok=True)
    path = root / environment_hash(python, lock_file.read_bytes())
    with only_one(root):
        missing = not (path / MARKER).exists()
        if missing:
            build(path, python, lock_file)
        changed = sync_shim(site_packages(path, python), HERE)
        if missing:
            os.sync()
            write_atomically(path / MARKER, b"")
    return path, missing or changed


def main() -> int:
    """Read the arguments, install, and print the result as JSON."""
    parser = argparse.ArgumentParser(description="Build a training environment of the sandbox.")
    parser.add_argument("--root", type=Path, required=True, help="folder of the environments")
    parser.add_argument("--trainer", default=TRAINER, help=f"whose environment ({TRAINER})")
    arguments = parser.parse_args()
    os.umask(0o022)
    try:
        path, changed = install(arguments.root.absolute(), arguments.trainer)
    except (InstallError, OSError) as error:
        print(f"The training environment could not be built: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"path": str(path), "changed": changed}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
