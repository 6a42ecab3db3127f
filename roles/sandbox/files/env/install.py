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
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
# The .pth line that imports the others comes last: no Python starts with half a shim.
CPU_SHIM = (
    "mnrun_import_hook.py",
    "mnrun_cpu.dist-info/METADATA",
    "mnrun_cpu.dist-info/entry_points.txt",
    "mnrun_cpu_patches.py",
    "mnrun_cpu_platform.py",
    "mnrun_cpu_rollout.py",
    "mnrun_cpu_shim.py",
    "mnrun_cpu_shim.pth",
)
GPU_SHIM = (
    "mnrun_import_hook.py",
    "mnrun_gpu_patches.py",
    "mnrun_gpu_shim.py",
    "mnrun_gpu_shim.pth",
)
# Where the environment does not share the package of the machine's Python.
FLASH_ATTENTION = ("flash_attn/__init__.py", "flash_attn/bert_padding.py")
TRAINER = "verl-0.5"
# The system's Python: one below /root (pyenv, conda) cannot be run by the cluster's user.
PYTHON = Path("/usr/bin/python3")
# PyPI's torch brings 3 GB of CUDA. Its CPU build comes from pip's own indexes if they have it, else
# from here, if this machine gets there.
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
MARKER = ".mnrun-complete"
# As pip would write it.
TORCHRUN = """#!{python}
import sys
from torch.distributed.run import main
sys.exit(main())
"""
TOTAL_SECONDS = 1800
TAIL_LINES = 15


class InstallError(Exception):
    """Something that stops the build, as a message for the user."""


def say(text: str) -> None:
    """Show one progress line."""
    print(f"[environment] {text}", file=sys.stderr, flush=True)


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


def run(command: list[str], deadline: float) -> str:
    """Run one command of the build, return its output; on failure raise with the end of it."""
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
    return done.stdout


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


def build(path: Path, plan: Plan) -> None:
    """Make the virtual environment at ``path`` from nothing, all but its marker."""
    if path.exists():
        say("an unfinished environment is here: starting over")
        shutil.rmtree(path)
    deadline = time.monotonic() + TOTAL_SECONDS
    pip = [*make_venv(path, plan, deadline), "install", "--no-compile", *plan.packages]
    say("1/3 torch")
    known = closure(plan, path, deadline) if plan.shared else {}
    if not plan.shared:
        install_torch(pip, plan, deadline)
    say(f"2/3 {plan.lock.stem} and what it needs")
    # --no-deps: the set is locked as a whole; resolving it takes pip more than ten minutes.
    own = own_packages(plan)
    listed = path / "requirements.txt"
    listed.write_text("\n".join(own.values()) + "\n")
    run([*pip, "--no-deps", "--requirement", str(listed)], deadline)
    shared = link(path, {name: files for name, files in known.items() if name not in own})
    say("3/3 compiling")
    # The cluster's user cannot write here, so each import of theirs would compile again.
    # A few packages ship templates that are not valid Python, for which compileall exits with 1.
    with contextlib.suppress(InstallError):
        compiler = [str(path / "bin" / "python"), "-m", "compileall", "-q", "-j0"]
        run([*compiler, str(path), *shared], deadline)


def make_venv(path: Path, plan: Plan, deadline: float) -> list[str]:
    """Make an empty environment; return the start of a command line of a pip that fills it."""
    if not plan.shared:
        run([str(plan.python), "-m", "venv", str(path)], deadline)
        return [str(path / "bin" / "python"), "-m", "pip"]
    # Its pip can fill any environment; a module for a pip of the environment's own may be missing.
    run([str(plan.python), "-m", "venv", "--without-pip", str(path)], deadline)
    return [str(plan.python), "-m", "pip", "--python", str(path / "bin" / "python")]


def install_torch(pip: list[str], plan: Plan, deadline: float) -> None:
    """Install torch, by itself and first: pip then picks the build of exactly this version."""
    torch = torch_requirement(plan.lock)
    own = plan.gpu or plan.wheels or has_cpu_build(pip, torch, deadline)
    run([*pip, *([] if own else cpu_index()), "--constraint", str(plan.lock), torch], deadline)


def closure(plan: Plan, path: Path, deadline: float) -> dict[str, list[str]]:
    """What the shared Python has of torch and its needs, and of what the folder of wheels lacks:
    the files of each package."""
    lacks = [name for name in pins(plan.lock) if name != "torch" and lacking(plan, name)]
    wanted = ["torch", *lacks]
    command = [str(plan.python), str(HERE / "shared_packages.py"), *wanted, "flash-attn"]
    found: dict[str, list[str]] = json.loads(run(command, deadline).splitlines()[-1])
    missing = [name for name in wanted if name not in found]
    if missing:
        raise InstallError(
            f"{plan.wheels} has no {', '.join(missing)} for Python {version_of(path)}, "
            f"and neither has {plan.python}"
        )
    return found


def lacking(plan: Plan, name: str) -> bool:
    """Whether there is a folder of wheels, and this package is not in it."""
    return plan.wheels is not None and not any(
        canonical(file.name.split("-")[0]) == name for file in plan.wheels.glob("*.whl")
    )


def own_packages(plan: Plan) -> dict[str, str]:
    """The lines of the lock that are installed, by name. What torch needs too, if it is locked."""
    return {
        name: line
        for name, line in pins(plan.lock).items()
        if not plan.shared or (name != "torch" and not lacking(plan, name))
    }


def link(path: Path, shared: dict[str, list[str]]) -> list[str]:
    """Let the environment share packages of the Python's; return their folders."""
    packages = site_packages(path)
    files = {Path(file).name: file for each in shared.values() for file in each}
    for name, file in files.items():
        if not (packages / name).exists():
            (packages / name).symlink_to(file)
    if "torch" in shared:
        program = path / "bin" / "torchrun"
        program.write_text(TORCHRUN.format(python=path / "bin" / "python"))
        program.chmod(0o755)
    return [file for file in files.values() if Path(file).is_dir()]


def pins(lock_file: Path) -> dict[str, str]:
    """The lines of a lock file by their packages' names."""
    lines = lock_file.read_text().split()
    return {canonical(line.split("==")[0]): line for line in lines}


def canonical(name: str) -> str:
    """A package's name as pip compares them."""
    return re.sub(r"[-_.]+", "-", name).lower()


def version_of(path: Path) -> str:
    """The version of an environment's Python, such as 3.12."""
    return site_packages(path).parent.name.removeprefix("python")


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


def site_packages(path: Path) -> Path:
    """Return where the environment at ``path`` keeps its packages."""
    (found,) = path.glob("lib/python3.*/site-packages")
    return found


def write_atomically(target: Path, content: bytes) -> None:
    """Replace ``target`` in one step, readable by all."""
    fresh = target.with_name(f"{target.name}.{os.getpid()}")
    fresh.write_bytes(content)
    fresh.chmod(0o644)
    fresh.replace(target)


def sync_shim(packages: Path, source: Path, gpu: bool = False) -> bool:
    """Copy the shim's files where they differ; return whether any did."""
    changed = False
    for name in shim(packages, gpu):
        content, target = (source / name).read_bytes(), packages / name
        if not target.exists() or target.read_bytes() != content:
            target.parent.mkdir(exist_ok=True)
            write_atomically(target, content)
            changed = True
    return changed


def shim(packages: Path, gpu: bool) -> tuple[str, ...]:
    """The files of the shim for a device."""
    if not gpu:
        return CPU_SHIM
    return GPU_SHIM if (packages / "flash_attn").is_symlink() else (*FLASH_ATTENTION, *GPU_SHIM)


ASK = """
import sys
from importlib import metadata
print("python%d.%d" % sys.version_info[:2], metadata.version("torch"))
"""


def asked(python: Path) -> tuple[Path, str]:
    """How a shared Python would be called in /usr/bin, and the version of its torch."""
    name, torch = run([str(python), "-c", ASK], time.monotonic() + 60).split()[-2:]
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
        changed = sync_shim(site_packages(path), HERE, gpu)
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
