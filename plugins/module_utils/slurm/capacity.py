"""A request to Slurm, compared with what the cluster has, before it would pend for ever."""

from __future__ import annotations

import difflib
import math
import re
from typing import Any, Iterator, NamedTuple

from ..base.errors import Unknown
from ..base.process import Runner

_LIMIT = 30.0  # seconds for one question
_NODE_FORMAT = "%N|%R|%c|%m|%G|%T"
_NODE_LINE = re.compile(r"([^|]+)\|([^|]+)\|([0-9]+)\|([0-9]+)\+?\|([^|]*)\|([^|]+)")
_UNITS = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024 * 1024, "": 1}
_OUT = re.compile(r"down|drain|fail|maint|unknown|power|reboot|inval|blocked|perfctrs")


class SlurmNode(NamedTuple):
    """A compute node: CPUs, memory in MB, GPUs by type ("" counts all), state."""

    name: str
    cpus: int
    memory: int
    gpus: dict[str, int]
    state: str


class Partition(NamedTuple):
    """A partition: its limits (math.inf for none; seconds) and its nodes."""

    name: str
    default: bool
    state: str
    max_time: float
    max_nodes: float
    nodes: list[SlurmNode]


class Survey(NamedTuple):
    """What there is, and the means to ask how a node list reads in full."""

    partitions: dict[str, Partition]
    run: Runner


class Findings(NamedTuple):
    """What keeps a request from running, and what only delays it."""

    faults: list[str]
    warnings: list[str]


def survey(run: Runner) -> Survey:
    """Ask Slurm for its partitions and nodes. Raises Unknown."""
    shown = _ask(run, ["scontrol", "-a", "show", "partition", "-o"])
    listed = _ask(run, ["sinfo", "-a", "-h", "-N", "-o", _NODE_FORMAT])
    nodes: dict[str, list[SlurmNode]] = {}
    for line in listed.splitlines():
        match = _NODE_LINE.fullmatch(line.strip())
        if match:  # a banner's line is none
            name, partition, cpus, memory, gres, state = match.groups()
            node = SlurmNode(name, int(cpus), int(memory), _gpus(gres), state)
            nodes.setdefault(partition, []).append(node)
    rows = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in shown.splitlines()]
    partitions = [_partition(row, nodes) for row in rows if "PartitionName" in row]
    if not partitions:
        raise Unknown("scontrol shows no partition")
    return Survey({partition.name: partition for partition in partitions}, run)


def _ask(run: Runner, command: list[str]) -> str:
    result = run(command, _LIMIT, "")
    if result.code == 0:
        return result.out
    words = " ".join((result.err or result.out).split())[:200]
    why = f"no answer in {_LIMIT:.0f} s" if result.code is None else words
    raise Unknown(f"{command[0]}: {why or f'exit code {result.code}'}")


def _partition(row: dict[str, str], nodes: dict[str, list[SlurmNode]]) -> Partition:
    name = row["PartitionName"]
    return Partition(
        name,
        row.get("Default") == "YES",
        row.get("State", "UP"),
        _limit(row.get("MaxTime", "UNLIMITED")),
        _number(row.get("MaxNodes", "UNLIMITED")),
        nodes.get(name, []),
    )


def _number(text: str) -> float:
    return float(text) if text.isdecimal() else math.inf


def _limit(text: str) -> float:
    """A partition's time limit; none, if it is not understood: Slurm has the last word."""
    try:
        return seconds(text)
    except ValueError:
        return math.inf


def seconds(text: str) -> float:
    """Slurm's forms of a time: minutes, M:S, H:M:S, D-H, D-H:M, D-H:M:S. ValueError for others."""
    if text.upper() in ("UNLIMITED", "INFINITE", "0", "-1"):
        return math.inf
    days, dash, rest = text.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if len(parts) > 3:
        raise ValueError(text)
    if dash:
        hours, minutes, secs = [*parts, 0, 0][:3]
    else:
        hours, minutes, secs = {1: [0, *parts, 0], 2: [0, *parts], 3: parts}[len(parts)]
    return float(int(days or 0) * 86400 + hours * 3600 + minutes * 60 + secs)


# Types as Slurm finds them by itself: nvidia_a100-sxm4-80gb, 2080ti, 1g.5gb.
_TYPE = r"[^:,()]+"


def _gpus(gres: str) -> dict[str, int]:
    """GPUs of a node by type, from `gpu:h100:8(S:0-1),nvme:1`."""
    found = {"": 0}
    for kind, count in re.findall(rf"\bgpu(?::({_TYPE}))?:(\d+)(?=[(,]|$)", gres):
        found[""] += int(count)
        if kind:
            found[kind] = found.get(kind, 0) + int(count)
    return found


def check(options: dict[str, Any], cluster: Survey) -> Findings:
    """Compare sbatch's long `options` of one job with the cluster. Raises Unknown."""
    given = {name: str(value) for name, value in options.items() if value not in (None, "", False)}
    partitions, faults = _chosen(given, cluster)
    if faults:
        return Findings(faults, [])
    request = _Request(given, partitions, cluster)
    return Findings(list(request.faults()), list(request.warnings()))


def _chosen(given: dict[str, str], cluster: Survey) -> tuple[list[Partition], list[str]]:
    names = given["partition"].split(",") if "partition" in given else []
    there = ", ".join(sorted(cluster.partitions))
    missing = [name for name in names if name not in cluster.partitions]
    if missing:
        close = difflib.get_close_matches(missing[0], list(cluster.partitions), n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        return [], [f"there is no partition {', '.join(missing)}; there are: {there}.{hint}"]
    if names:
        return [cluster.partitions[name] for name in names], []
    default = [partition for partition in cluster.partitions.values() if partition.default]
    if not default:
        return [], [f"no partition is named, and the cluster has no default; there are: {there}"]
    return default, []


class _Request:
    """One job's wishes beside the partitions that it may run in."""

    def __init__(self, given: dict[str, str], partitions: list[Partition], cluster: Survey) -> None:
        self._given = given
        self._partitions = partitions
        self._cluster = cluster
        self._name = ",".join(partition.name for partition in partitions)
        nodes = {node.name: node for partition in partitions for node in partition.nodes}
        self._listed = self._expand("nodelist")
        excluded = self._expand("exclude")
        self._nodes = {name: node for name, node in nodes.items() if name not in excluded}
        self._count = max(_least(given.get("nodes", "1")), 1)

    def _expand(self, option: str) -> list[str]:
        """The names in a node list of any form that Slurm knows."""
        if option not in self._given:
            return []
        command = ["scontrol", "show", "hostnames", self._given[option]]
        return _ask(self._cluster.run, command).split()

    def faults(self) -> Iterator[str]:
        """What Slurm would refuse, or leave pending for ever."""
        yield from self._state_faults()
        yield from self._node_faults()
        yield from self._time_faults()
        gpus, kind = _gpus_wanted(self._given)
        memory = _megabytes(self._given.get("mem", "0"))
        cpus = _least(self._given.get("cpus-per-task", "1"))
        cpus *= _least(self._given.get("ntasks-per-node", "1"))
        label = f"{kind} GPUs" if kind else "GPUs"
        yield from self._lack(gpus, label, {n.name: n.gpus.get(kind, 0) for n in self._usable()})
        yield from self._lack(cpus, "CPUs", {n.name: n.cpus for n in self._usable()})
        yield from self._lack(memory, "MB of memory", {n.name: n.memory for n in self._usable()})

    def _usable(self) -> list[SlurmNode]:
        """The nodes that the job may get: the named ones have to be among them."""
        named = [self._nodes[name] for name in self._listed if name in self._nodes]
        return named if len(named) >= self._count else list(self._nodes.values())

    def _state_faults(self) -> Iterator[str]:
        closed = [p for p in self._partitions if p.state in ("INACTIVE", "DRAIN")]
        if len(closed) == len(self._partitions):
            yield f"partition {self._name} takes no jobs now (state {closed[0].state})"

    def _node_faults(self) -> Iterator[str]:
        everywhere = {n.name: p.name for p in self._cluster.partitions.values() for n in p.nodes}
        missing = [name for name in self._listed if name not in everywhere]
        if missing:
            there = _some(list(everywhere))
            yield f"nodelist: there is no node {', '.join(missing)}; the cluster has {there}"
        for name in self._listed:
            if name in everywhere and name not in self._nodes:
                have = _some(list(self._nodes))
                yield (
                    f"nodelist: {name} is in partition {everywhere[name]}, not in {self._name},"
                    f" which has {have}"
                )
        if "nodes" in self._given and len(self._listed) > self._count:
            yield (
                f"nodelist names {len(self._listed)} nodes, but nodes is {self._count};"
                " make them equal"
            )
        most = min(len(self._nodes), max(p.max_nodes for p in self._partitions))
        if self._count > most:
            yield f"nodes: {self._count} are asked for, partition {self._name} gives {most:.0f}"

    def _time_faults(self) -> Iterator[str]:
        text = self._given.get("time", "")
        most = max(p.max_time for p in self._partitions)
        try:
            wanted = seconds(text) if text else 0.0
        except ValueError:
            yield f"time: {text!r} is no time; write days-hours:minutes:seconds"
            return
        if wanted > most:
            yield (
                f"time: {text} is more than partition {self._name} allows,"
                f" {most // 86400:.0f}-{most % 86400 // 3600:02.0f}:{most % 3600 // 60:02.0f}:00"
            )

    def _lack(self, wanted: float, what: str, offered: dict[str, int]) -> Iterator[str]:
        enough = [name for name, amount in offered.items() if amount >= wanted]
        if len(enough) >= self._count or len(offered) < self._count:
            return  # too few nodes have been told of already
        best = max(offered.values(), default=0)
        if not enough:
            have = f"the nodes of partition {self._name} have {best} at most"
        else:
            have = f"only {_some(enough)} of partition {self._name} has as many"
        yield f"{wanted:.0f} {what} on each of {self._count} nodes are asked for, {have}"

    def warnings(self) -> Iterator[str]:
        """What makes the job wait."""
        if all(partition.state == "DOWN" for partition in self._partitions):
            yield f"partition {self._name} is down: the job will wait until it is up"
        out = [node for node in self._nodes.values() if _OUT.search(node.state)]
        named = [f"{node.name} is {node.state}" for node in out if node.name in self._listed]
        if named:
            yield f"{', '.join(named)}: the job will wait for it"
        elif len(self._nodes) - len(out) < self._count <= len(self._nodes):
            states = ", ".join(f"{node.name} {node.state}" for node in out[:8])
            yield f"too few nodes of partition {self._name} are up ({states}): the job will wait"


def _some(names: list[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:16]) + (f" and {len(shown) - 16} more" if len(shown) > 16 else "")


def _least(text: str) -> int:
    """The number in `2`, or the smaller one in `2-4`; 1 for what only Slurm can judge."""
    match = re.match(r"\d+", text)
    return int(match.group()) if match else 1


def _gpus_wanted(given: dict[str, str]) -> tuple[int, str]:
    """GPUs on each node, and their type; from `8`, `h100:8` or a gres of `gpu:h100:8`."""
    text = given.get("gpus-per-node", "")
    match = re.fullmatch(rf"(?:({_TYPE}):)?(\d+)", text) or re.search(
        rf"\bgpu:(?:({_TYPE}):)?(\d+)(?=,|$)", given.get("gres", "")
    )
    return (int(match.group(2)), match.group(1) or "") if match else (0, "")


def _megabytes(text: str) -> float:
    match = re.fullmatch(r"(\d+)([KMGT]?)B?", text, re.IGNORECASE)
    return int(match.group(1)) * _UNITS[match.group(2).upper()] if match else 0
