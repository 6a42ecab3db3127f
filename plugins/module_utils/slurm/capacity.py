"""What the cluster has: its partitions, their limits and their nodes."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from .client import Denied, SlurmClient
from .times import slurm_time

_NODE_FORMAT = "%N|%R|%c|%m|%G|%T"
_NODE_LINE = re.compile(r"([^|]+)\|([^|]+)\|([0-9]+)\|([0-9]+)\+?\|([^|]*)\|([^|]+)")


class SlurmNode(NamedTuple):
    """A compute node: CPUs, memory in MB, GPUs by type ("" counts all), state."""

    name: str
    cpus: int
    memory: int
    gpus: dict[str, int]
    state: str


class Partition(NamedTuple):
    """A partition: its limits (seconds; math.inf for none) and its nodes. `default_time` is what a
    job gets that asks for no time."""

    name: str
    default: bool
    state: str
    max_time: float
    default_time: float
    max_nodes: float
    nodes: list[SlurmNode]


def survey(client: SlurmClient) -> dict[str, Partition]:
    """Ask Slurm for its partitions, by their names. Raises Unknown, or Denied if users may not see
    them."""
    shown = client.ask(["scontrol", "-a", "show", "partition", "-o"])
    listed = client.ask(["sinfo", "-a", "-h", "-N", "-o", _NODE_FORMAT])
    nodes: dict[str, list[SlurmNode]] = {}
    for line in listed.splitlines():
        match = _NODE_LINE.fullmatch(line.strip())
        if match:  # a banner's line is not one
            name, partition, cpus, memory, gres, state = match.groups()
            node = SlurmNode(name, int(cpus), int(memory), _gpus(gres), state)
            nodes.setdefault(partition, []).append(node)
    rows = [dict(re.findall(r"(?<!\w)(\w+)=(\S*)", line)) for line in shown.splitlines()]
    partitions = [_partition(row, nodes) for row in rows if "PartitionName" in row]
    if not partitions or not nodes:
        raise Denied("scontrol shows no partition" if nodes else "sinfo shows no node")
    return {partition.name: partition for partition in partitions}


def _partition(row: dict[str, str], nodes: dict[str, list[SlurmNode]]) -> Partition:
    name = row["PartitionName"]
    longest = _limit(row.get("MaxTime", ""), math.inf)
    return Partition(
        name,
        row.get("Default") == "YES",
        row.get("State", "UP"),
        longest,
        _limit(row.get("DefaultTime", ""), longest),
        _number(row.get("MaxNodes", "UNLIMITED")),
        nodes.get(name, []),
    )


def _number(text: str) -> float:
    return float(text) if re.fullmatch("[0-9]+", text) else math.inf


def _limit(text: str, otherwise: float) -> float:
    try:
        return slurm_time(text)
    except ValueError:  # NONE, or not understood: Slurm has the last word
        return otherwise


# Types as Slurm finds them by itself: nvidia_a100-sxm4-80gb, 2080ti, 1g.5gb.
GPU_TYPE = r"[^:,()]+"


def _gpus(gres: str) -> dict[str, int]:
    """GPUs of a node by type, from `gpu:h100:8(S:0-1),nvme:1`."""
    found = {"": 0}
    for kind, count in re.findall(rf"\bgpu(?::({GPU_TYPE}))?:(\d+)(?=[(,]|$)", gres):
        found[""] += int(count)
        if kind:
            found[kind] = found.get(kind, 0) + int(count)
    return found
