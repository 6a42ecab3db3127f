"""The namespaces: one fabric that holds the network, and a machine in it for each node."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from pathlib import Path
from typing import Sequence

from ..base.clock import Clock
from ..sandbox import gpus, process
from .errors import NO_NAMESPACES, SandboxError
from .layout import NETWORK, Node, Options
from .portable import PROGRAMS

PYTHON = ["/usr/bin/python3", "-IS"]
NAMESPACES = ["--mount", "--net", "--uts", "--ipc", "--pid"]
BRIDGE = "br0"
READY = Path("/run/mnrun-ready")
START = 20.0  # seconds for a first process to say that it is ready
# Seconds for the kernel to end all that is in a pid namespace.
END = 30.0


def find(options: Options, *words: str, depth: int) -> list[int]:
    """Return root's processes that run init.py with these words, as first of a pid namespace.

    `depth` is the number of pid namespaces they are in, seen from here: a sandbox inside a
    container of this machine has the same command line, but is deeper. Another user could give
    a process that command line too, to have root enter its namespaces.
    """
    program = [*PYTHON, str(options.path("bin", "init.py")), *words]
    matching = [pid for pid in process.pids() if process.arguments(pid)[: len(program)] == program]
    return [pid for pid in matching if _first(process.status(pid), depth)]


def _first(fields: dict[str, str], depth: int) -> bool:
    numbers = fields.get("NSpid", "").split()
    if len(numbers) != depth or fields["State"][0] in "XZ":
        return False
    return numbers[-1] == "1" and set(fields["Uid"].split()) == {"0"}


def all_fabrics(options: Options) -> list[int]:
    """Return the first process of each fabric: one, or more after an interrupted `up`."""
    return find(options, "fabric", options.directory, depth=2)


def find_fabric(options: Options) -> int | None:
    """Return the first process of the fabric whose setup was completed, if there is one."""
    return next((pid for pid in all_fabrics(options) if bridged(pid)), None)


def find_node(options: Options, node: Node) -> int | None:
    """Return a node's first process, if the setup of the node was completed."""
    found = find(options, "node", options.directory, node.name, depth=3)
    return next((pid for pid in found if inside(pid, READY).exists()), None)


def bridged(pid: int) -> bool:
    """Whether the fabric's network exists; it is created last."""
    return f"{BRIDGE}:" in process.read(f"/proc/{pid}/net/dev")


def enter(options: Options, pid: int) -> list[str]:
    """The start of a command line that runs a command in all namespaces of a process."""
    program = ["/bin/sh", str(options.path("bin", "enter"))]
    return ["nsenter", "--target", str(pid), *NAMESPACES, "--cgroup", "--", *program]


def inside(pid: int, path: Path) -> Path:
    """Where this machine sees a file that a process knows as `path`."""
    return Path(f"/proc/{pid}/root{path}")


def tracked(options: Options, pid: int) -> bool:
    """Whether the fabric has a freezer cgroup, with which Slurm can track a job's processes."""
    return inside(pid, options.path("run", "freezer", "cgroup.procs")).exists()


def start_fabric(options: Options) -> int:
    """Create the namespaces; return their first process."""
    words = ["fabric", options.directory, options.cgroup]
    _start(_unshare(options, *words), options.path("log", "fabric.log"))
    found = all_fabrics(options)
    if not found:
        raise SandboxError(f"the fabric ended at once: see {options.path('log', 'fabric.log')}")
    return found[-1]


def bridge(pid: int) -> None:
    """Set the fabric's network up."""
    lines = [
        "link set lo up",
        f"link add {BRIDGE} type bridge",
        f"addr add {NETWORK}.1/24 dev {BRIDGE}",
        f"link set {BRIDGE} up",
    ]
    _ip(pid, lines)


def start_node(options: Options, fabric: int, node: Node) -> int:
    """Make one machine inside the fabric and connect it; return its first process."""
    for half_made in find(options, "node", options.directory, node.name, depth=3):
        _kill(half_made)
    words = ["node", options.directory, node.name, _devices(options, node), *_programs(options)]
    command = [*enter(options, fabric), *_unshare(options, *words)]
    _start(command, options.path("log", f"{node.name}.log"))
    found = find(options, "node", options.directory, node.name, depth=3)
    if not found:
        raise SandboxError(f"{node.name} ended at once: see {options.path('log')}/{node.name}.log")
    pid = found[-1]
    _connect(fabric, pid, node)
    inside(pid, READY).touch()
    return pid


def _devices(options: Options, node: Node) -> str:
    """Its GPUs, as init.py takes them: a number of stand-ins, or real ones by their numbers."""
    if not options.real:
        return str(node.gpus)
    return "real:" + ",".join(map(str, gpus.share(options, node, gpus.numbers())))


def _programs(options: Options) -> list[str]:
    """The folder of the programs that replace this machine's, if there is one."""
    folder = options.slurm_folder
    return [str(folder / PROGRAMS)] if folder else []


def _connect(fabric: int, pid: int, node: Node) -> None:
    # The name contains the process id: the cable of a dead node may still exist.
    cable = f"veth{pid}"
    lines = [
        f"link add {cable} type veth peer name eth0 netns {pid}",
        f"link set {cable} master {BRIDGE} up",
    ]
    _ip(fabric, lines)
    _ip(pid, ["link set lo up", f"addr add {node.address}/24 dev eth0", "link set eth0 up"])


def _ip(pid: int, lines: Sequence[str]) -> None:
    command = ["nsenter", "--target", str(pid), "--net", "ip", "-batch", "-"]
    process.run(command, feed="\n".join(lines) + "\n")


def _unshare(options: Options, *words: str) -> list[str]:
    program = [*PYTHON, str(options.path("bin", "init.py")), *words]
    unshare = ["unshare", *NAMESPACES, "--fork", "--mount-proc", "--kill-child", "--", *program]
    return ["setsid", "--fork", *unshare]


def _start(command: Sequence[str], log: Path) -> None:
    """Start a process that outlives this one; return once it prints a line."""
    read, write = os.pipe()
    with log.open("ab") as errors, os.fdopen(read, "rb") as output:
        try:
            process.detached(command, write, errors.fileno())
        finally:
            os.close(write)
        if not select.select([output], [], [], START)[0] or not output.readline():
            lines = process.read(str(log)).splitlines() or ["it does not answer"]
            raise SandboxError(f"{log.stem} does not start: {lines[-1]} ({log}). {NO_NAMESPACES}")


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def kill_fabrics(options: Options, clock: Clock) -> None:
    """End each fabric, and with it every process inside."""
    found = all_fabrics(options)
    for pid in found:
        _kill(pid)
    process.wait_until(
        lambda: all(process.ended(pid) for pid in found),
        END,
        lambda: f"the sandbox does not end (processes {found}); see dmesg for a task that hangs",
        clock,
    )
