"""An environment from nothing: its Python, torch, the packages of its lock, what it shares."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
import urllib.request
from pathlib import Path

import env_command
from env_command import InstallError, say
from env_locks import HERE, Plan, canonical, pins, torch_requirement

# PyPI's torch brings 3 GB of CUDA. Its CPU build comes from pip's own indexes if they have it, else
# from here, if this machine gets there.
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# As pip would write it.
TORCHRUN = """#!{python}
import sys
from torch.distributed.run import main
sys.exit(main())
"""


def build(path: Path, plan: Plan) -> None:
    """Make the virtual environment at ``path`` from nothing, all but its marker."""
    if path.exists():
        say("an unfinished environment is here: starting over")
        shutil.rmtree(path)
    deadline = time.monotonic() + env_command.TOTAL_SECONDS
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
    env_command.run([*pip, "--no-deps", "--requirement", str(listed)], deadline)
    shared = link(path, {name: files for name, files in known.items() if name not in own})
    say("3/3 compiling")
    # The cluster's user cannot write here, so each import of theirs would compile again.
    # A few packages ship templates that are not valid Python, for which compileall exits with 1.
    with contextlib.suppress(InstallError):
        compiler = [str(path / "bin" / "python"), "-m", "compileall", "-q", "-j0"]
        env_command.run([*compiler, str(path), *shared], deadline)


def make_venv(path: Path, plan: Plan, deadline: float) -> list[str]:
    """Make an empty environment; return the start of a command line of a pip that fills it."""
    if not plan.shared:
        env_command.run([str(plan.python), "-m", "venv", str(path)], deadline)
        return [str(path / "bin" / "python"), "-m", "pip"]
    # Its pip can fill any environment; a module for a pip of the environment's own may be missing.
    env_command.run([str(plan.python), "-m", "venv", "--without-pip", str(path)], deadline)
    return [str(plan.python), "-m", "pip", "--python", str(path / "bin" / "python")]


def install_torch(pip: list[str], plan: Plan, deadline: float) -> None:
    """Install torch, by itself and first: pip then picks the build of exactly this version."""
    torch = torch_requirement(plan.lock)
    own = plan.gpu or plan.wheels or has_cpu_build(pip, torch, deadline)
    env_command.run(
        [*pip, *([] if own else cpu_index()), "--constraint", str(plan.lock), torch], deadline
    )


def closure(plan: Plan, path: Path, deadline: float) -> dict[str, list[str]]:
    """What the shared Python has of torch and its needs, and of what the folder of wheels lacks:
    the files of each package."""
    lacks = [
        name for name, line in pins(plan.lock).items() if name != "torch" and lacking(plan, line)
    ]
    wanted = ["torch", *lacks]
    command = [str(plan.python), str(HERE / "shared_packages.py"), *wanted, "flash-attn"]
    found: dict[str, list[str]] = json.loads(env_command.run(command, deadline).splitlines()[-1])
    missing = [name for name in wanted if name not in found]
    if missing:
        raise InstallError(
            f"{plan.wheels} has no {', '.join(missing)} for Python {version_of(path)}, "
            f"and neither has {plan.python}"
        )
    return found


def lacking(plan: Plan, line: str) -> bool:
    """Whether there is a folder of wheels, and this version of a package is not in it."""
    name, _, version = line.partition("==")
    wanted = (canonical(name), version)
    return plan.wheels is not None and not any(
        (canonical(own), its) == wanted
        for own, its in (file.name.split("-")[:2] for file in plan.wheels.glob("*.whl"))
    )


def own_packages(plan: Plan) -> dict[str, str]:
    """The lines of the lock that are installed, by name. What torch needs too, if it is locked."""
    return {
        name: line
        for name, line in pins(plan.lock).items()
        if not plan.shared or (name != "torch" and not lacking(plan, line))
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


def site_packages(path: Path) -> Path:
    """Return where the environment at ``path`` keeps its packages."""
    (found,) = path.glob("lib/python3.*/site-packages")
    return found


def version_of(path: Path) -> str:
    """The version of an environment's Python, such as 3.12."""
    return site_packages(path).parent.name.removeprefix("python")


def has_cpu_build(pip: list[str], torch: str, deadline: float) -> bool:
    """Return True if pip, as this machine configures it, finds the CPU build by itself."""
    try:
        env_command.run([*pip, "--dry-run", "--no-deps", f"{torch}+cpu"], deadline)
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
