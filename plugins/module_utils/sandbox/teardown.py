"""Take the cluster down, and leave nothing behind."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from ..base.clock import Clock
from ..sandbox import fabric, jobs, process, services
from .cluster import Found
from .errors import NO_NAMESPACES, SandboxError
from .layout import CONTROLLER, Options

FREEZER = Path("/sys/fs/cgroup/freezer")
# In a mount namespace of its own, because the freezer may not be mounted on this machine.
REMOVE_CGROUP = """\
mount -t cgroup -o freezer cgroup "$1" || exit 0
[ ! -d "$1/$2" ] || find "$1/$2" -depth -type d -exec rmdir {} +
[ ! -d "$1/$2" ] || exit 9
"""
BUSY = 9
CGROUP = 10.0  # seconds until the kernel lets go of a cgroup whose processes have ended


def down(options: Options, found: Found, clock: Clock) -> None:
    """End all jobs, daemons and processes; remove what they leave in this machine's kernel."""
    controller = found.nodes.get(CONTROLLER)
    if controller:
        _close(options, controller, clock)
    fabric.kill_fabrics(options, clock)
    remove_leftovers(options, clock)


def _close(options: Options, controller: int, clock: Clock) -> None:
    """Have the accounting record how each job ended. If it cannot, the next `up` does."""
    daemons = [s for phase in services.phases(options) for s in phase if s.node == CONTROLLER]
    if any(s.name == "slurmctld" and services.ready(s, controller) for s in daemons):
        with suppress(SandboxError):
            jobs.cancel_all(options, controller)
    for service in reversed(daemons):
        services.stop(options, service, controller, clock)


def leftovers(options: Options) -> list[Path]:
    """What a sandbox that died left behind."""
    return [p for p in (options.path("login.sock"), FREEZER / options.cgroup) if p.exists()]


def remove_leftovers(options: Options, clock: Clock) -> None:
    """Remove the socket and the cgroup folders."""
    with suppress(FileNotFoundError):
        options.path("login.sock").unlink()
    if not options.path("run").is_dir():
        return
    process.wait_until(
        lambda: _remove_cgroup(options),
        CGROUP,
        lambda: f"the cgroup {options.cgroup} cannot be removed: a process is still in it",
        clock,
    )


def _remove_cgroup(options: Options) -> bool:
    script = ["sh", "-c", REMOVE_CGROUP, "sh", str(options.path("run")), options.cgroup]
    done = process.run(["unshare", "--mount", *script], check=False)
    if done.returncode not in {0, BUSY}:
        raise SandboxError(f"{done.stdout.strip()}. {NO_NAMESPACES}")
    return done.returncode == 0


def wipeable(options: Options) -> list[Path]:
    """The folders that hold jobs, accounting and training results, as far as they exist."""
    paths = [options.path(name) for name in ("mysql", "mysql.new", "log")]
    paths += sorted(options.path().glob("spool*"))  # each Slurm that ran has one
    paths += [home / "training" for home in options.homes.values()]
    return [path for path in paths if path.is_dir()]


def wipe(options: Options) -> None:
    """Delete all jobs, the accounting and the training results of a cluster that is down."""
    for path in wipeable(options):
        shutil.rmtree(path)
