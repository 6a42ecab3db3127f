"""Start the cluster, stop it, and report its state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from ..base.clock import Clock
from ..base.presence import read_text
from ..sandbox import fabric, files, jobs, services
from .errors import SandboxError
from .layout import CONTROLLER, Node, Options
from .services import Service


class Request(NamedTuple):
    """What `up` needs besides the options.

    `source` is the folder with the files that are the same for each sandbox, `owner` the number
    of the user of this machine who may log in, `conda_env` the environment that ~/conda_env of
    the cluster's user is a link to (none if empty).
    """

    source: Path
    owner: int
    conda_env: str = ""


class Found(NamedTuple):
    """What is running: the first process of the fabric and of each node; which daemons are not.

    `states` are the compute nodes' in Slurm's words, empty when slurmctld does not answer.
    """

    fabric: int | None
    nodes: dict[str, int]
    dead: list[Service]
    states: dict[str, str]

    @property
    def drained(self) -> list[str]:
        """The nodes that Slurm has drained, after an error or because someone requested it."""
        return [name for name, state in self.states.items() if state.startswith("drain")]


NOTHING = Found(None, {}, [], {})


def find(options: Options) -> Found:
    """Find out what is running. Only the kernel is asked: files can be out of date."""
    pid = fabric.find_fabric(options)
    if pid is None:
        return NOTHING
    found = {node.name: fabric.find_node(options, node) for node in options.machines}
    nodes = {name: pid for name, pid in found.items() if pid}
    wanted = [service for phase in services.phases(options) for service in phase]
    dead = [s for s in wanted if s.node not in nodes or not services.ready(s, nodes[s.node])]
    served = not any(service.name == "slurmctld" for service in dead)
    return Found(pid, nodes, dead, jobs.node_states(options, nodes[CONTROLLER]) if served else {})


def started_with(options: Options) -> Options:
    """The options that the files on disk were written for; the requested ones if there are none."""
    kept = json.loads(read_text(options.path("options.json")) or "{}")
    if kept:
        # Written before these could be chosen.
        kept = {"slurm": "", "real": False, **kept}
    return options._replace(**{name: kept[name] for name in Options._fields if name in kept})


def plan(options: Options, found: Found, request: Request) -> list[str]:
    """What `up` would do, one line each; empty if nothing needs to be done.

    Raises SandboxError when a cluster with other options runs.
    """
    linked = files.linked(options, request.conda_env)
    lines = [] if linked else [f"link ~/conda_env to {request.conda_env}"]
    if found.fabric is None:
        names = ", ".join(node.name for node in options.machines)
        return [f"start the cluster: {names}", *lines]
    old = started_with(options)
    if old != options:
        raise SandboxError(
            f"The sandbox is up with {_words(old)}, but {_words(options)} was requested. "
            "Run `mnrun sandbox down` first: it ends all jobs."
        )
    if not files.owned(options, request.owner):
        lines.append(f"let user {request.owner} log in")
    lost = [node.name for node in options.machines if node.name not in found.nodes]
    lines += [f"start the node {name}" for name in lost]
    lines += [f"resume the drained node {name}" for name in found.drained]
    return lines + [f"start {service}" for service in found.dead if service.node not in lost]


def _words(options: Options) -> str:
    accounting = "on" if options.accounting else "off"
    closed = "" if options.ssh_to_nodes else ", ssh to compute nodes closed"
    slurm = f"Slurm {options.slurm}" if options.slurm else "this machine's own Slurm"
    kind = "real GPUs" if options.real else "simulated GPUs"
    size = f"{options.nodes} nodes, {options.gpus} {kind} each"
    return f"{slurm}, {size}, accounting {accounting}{closed}"


def up(options: Options, request: Request, clock: Clock) -> dict[str, str]:
    """Start everything that is not running; return the compute nodes' states."""
    pid = fabric.find_fabric(options) or _start_fabric(options, request)
    files.link(options, request.conda_env)
    files.hand_over(options, request.owner)
    nodes = {node.name: _start_node(options, pid, node) for node in options.machines}
    if options.accounting:
        services.prepare_database(options, nodes[CONTROLLER])
    for phase in services.phases(options, request.owner):
        _start_phase(options, phase, nodes, clock)
        if any(service.name == "slurmctld" for service in phase):
            _settle(options, pid, nodes[CONTROLLER])
    jobs.resume(options, nodes[CONTROLLER])
    return jobs.wait_registered(options, nodes[CONTROLLER], clock)


def _start_fabric(options: Options, request: Request) -> int:
    files.write_all(options, request.source, request.owner)
    pid = fabric.start_fabric(options)
    proctrack = "cgroup" if fabric.tracked(options, pid) else "linuxproc"
    files.write_slurm(options, proctrack)
    fabric.bridge(pid)
    return pid


def _start_node(options: Options, pid: int, node: Node) -> int:
    return fabric.find_node(options, node) or fabric.start_node(options, pid, node)


def _start_phase(
    options: Options, phase: list[Service], nodes: dict[str, int], clock: Clock
) -> None:
    missing = [s for s in phase if not services.ready(s, nodes[s.node])]
    for service in missing:
        if not services.lives(service, nodes[service.node]):
            services.start(options, service, nodes[service.node])
    for service in missing:
        services.wait_ready(options, service, nodes[service.node], clock)


def _settle(options: Options, pid: int, controller: int) -> None:
    """Cancel the jobs that an earlier cluster left, before a node could run them again."""
    marker = fabric.inside(pid, options.path("run", "settled"))
    if not marker.exists():
        jobs.forget_lost(options, controller)
        marker.touch()
