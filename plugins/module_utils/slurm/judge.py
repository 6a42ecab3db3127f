"""A request to Slurm, compared with what the cluster has, before it would wait for ever."""

from __future__ import annotations

import difflib
import re
from typing import Iterator, Mapping, NamedTuple

from .capacity import GPU_TYPE, Partition, SlurmNode
from .nodelist import names_in
from .times import explained, in_words, slurm_time

_UNITS = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024 * 1024, "": 1}
_OUT_OF_ALL = re.compile(r"down|drain|fail|unknown|power|reboot|inval|blocked|perfctrs")
_OUT = re.compile(rf"{_OUT_OF_ALL.pattern}|maint")


class Findings(NamedTuple):
    """What keeps a request from running, what only delays it, and how long it may run."""

    faults: list[str]
    warnings: list[str]
    limit: str = ""


def judge(options: Mapping[str, str], partitions: Mapping[str, Partition]) -> Findings:
    """Compare a job's sbatch options (see directives.py) with the partitions of the cluster."""
    chosen, faults = _chosen(options, partitions)
    if faults:
        return Findings(faults, [])
    request = _Request(options, chosen, partitions)
    found = Findings(list(request.faults()), list(request.warnings()), request.limit())
    lifting = [name for name in ("qos", "reservation") if options.get(name)]
    return excused(found, f"the {lifting[0]} {options[lifting[0]]}") if lifting else found


def excused(found: Findings, by: str) -> Findings:
    """The same, with warnings in place of faults: the limits may not apply to this job."""
    doubts = [f"{fault}, unless {by} allows it" for fault in found.faults]
    return found._replace(faults=[], warnings=[*doubts, *found.warnings])


def _chosen(
    given: Mapping[str, str], partitions: Mapping[str, Partition]
) -> tuple[list[Partition], list[str]]:
    names = given["partition"].split(",") if "partition" in given else []
    there = ", ".join(sorted(partitions))
    missing = [name for name in names if name not in partitions]
    if missing:
        close = difflib.get_close_matches(missing[0], list(partitions), n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        return [], [f"there is no partition {', '.join(missing)}; available: {there}.{hint}"]
    if names:
        return [partitions[name] for name in names], []
    default = [partition for partition in partitions.values() if partition.default]
    if not default:
        return [], [f"no partition is set, and the cluster has no default; available: {there}"]
    return default, []


class _Request:
    """One job's request, with the partitions that it may run in."""

    def __init__(
        self,
        given: Mapping[str, str],
        partitions: list[Partition],
        there: Mapping[str, Partition],
    ) -> None:
        self._given = given
        self._partitions = partitions
        self._everywhere = {node.name: p.name for p in there.values() for node in p.nodes}
        self._name = ",".join(partition.name for partition in partitions)
        nodes = {node.name: node for partition in partitions for node in partition.nodes}
        self._listed = names_in(given.get("nodelist", ""))
        excluded = names_in(given.get("exclude", ""))
        self._nodes = {name: node for name, node in nodes.items() if name not in excluded}
        self._count = max(least(given.get("nodes", "1")), 1)

    def faults(self) -> Iterator[str]:
        """What Slurm would refuse, or keep pending for ever."""
        yield from self._state_faults()
        yield from self._time_faults()
        if any(partition.nodes for partition in self._partitions):
            yield from self._of_nodes()

    def _of_nodes(self) -> Iterator[str]:
        yield from self._node_faults()
        gpus, kind = _gpus_wanted(self._given)
        memory = _megabytes(self._given.get("mem", "0"))
        cpus = least(self._given.get("cpus-per-task", "1"))
        cpus *= least(self._given.get("ntasks-per-node", "1"))
        label = f"{kind} GPUs" if kind else "GPUs"
        yield from self._lack(gpus, label, {n.name: n.gpus.get(kind, 0) for n in self._usable()})
        yield from self._lack(cpus, "CPUs", {n.name: n.cpus for n in self._usable()})
        yield from self._lack(memory, "MB of memory", {n.name: n.memory for n in self._usable()})

    def _usable(self) -> list[SlurmNode]:
        """The nodes that the job may get; they must include the named ones."""
        named = [self._nodes[name] for name in self._listed if name in self._nodes]
        return named if len(named) >= self._count else list(self._nodes.values())

    def _state_faults(self) -> Iterator[str]:
        closed = [p for p in self._partitions if p.state in ("INACTIVE", "DRAIN")]
        if len(closed) == len(self._partitions):
            yield f"partition {self._name} accepts no jobs now (state {closed[0].state})"

    def _node_faults(self) -> Iterator[str]:
        missing = [name for name in self._listed if name not in self._everywhere]
        if missing:
            there = _some(list(self._everywhere))
            yield f"nodelist: there is no node {', '.join(missing)}; the cluster has {there}"
        for name in self._listed:
            if name in self._everywhere and name not in self._nodes:
                have = _some(list(self._nodes))
                yield (
                    f"nodelist: {name} is in partition {self._everywhere[name]},"
                    f" not in {self._name}, which has {have}"
                )
        if "nodes" in self._given and len(self._listed) > self._count:
            yield (
                f"nodelist names {len(self._listed)} nodes, but nodes is {self._count};"
                " make them equal"
            )
        most = min(len(self._nodes), max(p.max_nodes for p in self._partitions))
        if self._count > most:
            yield f"nodes: {self._count} are requested, partition {self._name} allows {most:.0f}"

    def _time_faults(self) -> Iterator[str]:
        asked = self._given.get("time-min") or self._given.get("time", "")
        most = max(partition.max_time for partition in self._partitions)
        if asked and slurm_time(asked) > most:
            yield f"time: {explained(asked)}, but partition {self._name} allows {in_words(most)}"

    def limit(self) -> str:
        """How long the job may run: a slip in what was written shows here."""
        asked = self._given.get("time", "")
        if asked:
            return f"time limit: {explained(asked)}"
        default = max(partition.default_time for partition in self._partitions)
        return f"time limit: {in_words(default)} (the default of partition {self._name})"

    def _lack(self, wanted: float, what: str, offered: dict[str, int]) -> Iterator[str]:
        enough = [name for name, amount in offered.items() if amount >= wanted]
        if len(enough) >= self._count or len(offered) < self._count:
            return  # too few nodes have been reported already
        best = max(offered.values(), default=0)
        if not enough:
            have = f"the nodes of partition {self._name} have at most {best}"
        else:
            have = f"only {_some(enough)} of partition {self._name} has as many"
        yield f"{wanted:.0f} {what} on each of {self._count} nodes are requested, {have}"

    def warnings(self) -> Iterator[str]:
        """What makes the job wait."""
        if all(partition.state == "DOWN" for partition in self._partitions):
            yield f"partition {self._name} is down: the job will wait until it is up"
        if not any(partition.nodes for partition in self._partitions):
            yield f"Slurm does not show the nodes of partition {self._name} to you, or it has none"
            return
        # What a reservation keeps for its users is out for all others.
        out_of_use = _OUT if not self._given.get("reservation") else _OUT_OF_ALL
        out = [node for node in self._nodes.values() if out_of_use.search(node.state)]
        named = [f"{node.name} is {node.state}" for node in out if node.name in self._listed]
        if named:
            yield f"{', '.join(named)}: the job will wait for it"
        elif len(self._nodes) - len(out) < self._count <= len(self._nodes):
            states = ", ".join(f"{node.name} {node.state}" for node in out[:8])
            yield f"too few nodes of partition {self._name} are up ({states}): the job will wait"


def _some(names: list[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:16]) + (f" and {len(shown) - 16} more" if len(shown) > 16 else "")


def least(text: str) -> int:
    """The number in `2`, or the smaller one in `2-4`; 1 for forms that only Slurm can interpret."""
    match = re.match(r"\d+", text)
    return int(match.group()) if match else 1


def gpus_of_job(given: Mapping[str, str]) -> int:
    """GPUs of a job with these options of sbatch, on all its nodes (the most of a range)."""
    total = re.fullmatch(rf"(?:{GPU_TYPE}:)?(\d+)", given.get("gpus", ""))
    if total:
        return int(total.group(1))
    nodes = re.findall(r"\d+", given.get("nodes", "1"))
    return _gpus_wanted(given)[0] * int(nodes[-1] if nodes else 1)


def _gpus_wanted(given: Mapping[str, str]) -> tuple[int, str]:
    """GPUs on each node, and their type; from `8`, `h100:8` or a gres of `gpu:h100:8`."""
    text = given.get("gpus-per-node", "")
    match = re.fullmatch(rf"(?:({GPU_TYPE}):)?(\d+)", text) or re.search(
        rf"\bgpu:(?:({GPU_TYPE}):)?(\d+)(?=,|$)", given.get("gres", "")
    )
    return (int(match.group(2)), match.group(1) or "") if match else (0, "")


def _megabytes(text: str) -> float:
    match = re.fullmatch(r"(\d+)([KMGT]?)B?", text, re.IGNORECASE)
    return int(match.group(1)) * _UNITS[match.group(2).upper()] if match else 0
