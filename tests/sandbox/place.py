"""Where the tests' sandboxes lie. Side by side, each worker of pytest-xdist has one of its own: the
first the usual one, each other one a sandbox beside it that uses the first one's environments."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ansible_collections.mnrun.train.plugins.module_utils.base.clock import Clock
from ansible_collections.mnrun.train.plugins.module_utils.sandbox import run
from ansible_collections.mnrun.train.plugins.module_utils.sandbox.layout import Options

FIRST = Path(os.environ.get("MNRUN_SANDBOX_DIR", "/var/lib/mnrun-sandbox"))
WORKER = os.environ.get("PYTEST_XDIST_WORKER")
# The pytest that was started, which outlives its workers, gives its clusters their names.
STARTER = os.getpid() if WORKER is None else os.getppid()
PLACE = FIRST if WORKER in {None, "gw0"} else FIRST.with_name(f"{FIRST.name}-{STARTER}-{WORKER}")

SHARES = "8192"  # the weight of eight sessions


def environments() -> Path:
    """The folder in which the training environment is built, once for all workers."""
    ours, shared = PLACE / "envs", FIRST / "envs"
    shared.mkdir(parents=True, exist_ok=True)
    if not ours.exists():
        PLACE.mkdir(parents=True, exist_ok=True)
        ours.symlink_to(shared)
    return ours


@contextmanager
def first_served() -> Iterator[None]:
    """The processes of this worker's sandbox have the processors before others.

    The kernel shares them among sessions and not among processes: a play of the other worker, with
    a session for each of its tasks, leaves a training so little that its steps take several times
    as long. Where cgroups are kept in another way, nothing is done.
    """
    cluster = Options(str(PLACE)).cgroup
    ours, group = Path("/sys/fs/cgroup/freezer", cluster), Path("/sys/fs/cgroup/cpu", cluster)
    if not ours.is_dir() or not os.access(group.parent, os.W_OK):
        yield
        return
    group.mkdir(exist_ok=True)
    (group / "cpu.shares").write_text(SHARES)
    _move(ours, group)
    try:
        yield
    finally:
        _move(group, group.parent)
        with suppress(OSError):  # something began just now; the folder holds nothing
            group.rmdir()


def _move(source: Path, target: Path) -> None:
    for pids in source.rglob("cgroup.procs"):
        for pid in pids.read_text(encoding="ascii").split():
            with suppress(OSError):  # it has ended
                (target / "cgroup.procs").write_text(pid)


def beside(name: str) -> Path:
    """Where a cluster lies that a test has for itself."""
    return Path(f"/tmp/mnrun-tests-{STARTER}-{name}")


def down(directory: Path) -> None:
    """Take a cluster down."""
    given = {"state": "down", "directory": str(directory), "nodes": 2, "gpus": 8, "wipe": False,
             "accounting": True, "ssh_to_nodes": True, "files": "", "conda_env": ""}  # fmt: skip
    run.apply(given, False, Clock())


def end_all() -> None:
    """Take down what workers left that were ended before they could: all but the first sandbox."""
    for some in (FIRST.with_name(f"{FIRST.name}-{STARTER}-*"), beside("*")):
        for directory in some.parent.glob(some.name):
            down(directory)
            shutil.rmtree(directory)
