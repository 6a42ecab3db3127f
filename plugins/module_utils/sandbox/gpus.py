"""The GPUs of the compute nodes: this machine's own, shared out among them, or stand-ins."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple, Sequence

from .errors import SandboxError
from .layout import SIMULATED_GPUS, Node, Options

DEVICES = Path("/dev")
MIB = 2**20


class Choice(NamedTuple):
    """Whether the nodes have real GPUs, and how many each has. `note` says why not, where this
    machine has some."""

    real: bool
    gpus: int
    note: str = ""


class Size(NamedTuple):
    """What Slurm believes of a compute node: its cores, and its memory in MiB."""

    cores: int
    memory: int


def numbers(folder: Path = DEVICES) -> list[int]:
    """The numbers of this machine's GPUs: of its devices /dev/nvidia0, /dev/nvidia1, …"""
    names = (re.fullmatch(r"nvidia(\d+)", path.name) for path in folder.iterdir())
    return sorted(int(name.group(1)) for name in names if name)


def choose(found: Sequence[int], nodes: int, gpus: int | None, simulated: bool) -> Choice:
    """Share `found` out among the nodes, `gpus` to each, or evenly if that is None.

    The nodes have stand-ins if the machine has no GPU, if `simulated`, or if there are too few
    for all nodes and no number was asked for.

    Raises SandboxError when more are asked for than there are.
    """
    if simulated or not found:
        return Choice(False, SIMULATED_GPUS if gpus is None else gpus)
    if gpus is not None and gpus * nodes > len(found):
        raise SandboxError(
            f"This machine has {len(found)} GPUs, and {nodes} nodes with {gpus} each need "
            f"{gpus * nodes}: ask for fewer (--nodes, --gpus), or for --simulated ones."
        )
    if gpus is None and len(found) < nodes:
        return Choice(False, SIMULATED_GPUS, f"{len(found)} real cannot be shared by {nodes} nodes")
    return Choice(True, len(found) // nodes if gpus is None else gpus)


def share(options: Options, node: Node, found: Sequence[int]) -> list[int]:
    """The numbers of the GPUs that belong to a node.

    Raises SandboxError when this machine has lost some since the sandbox was set up.
    """
    if not node.gpus:
        return []
    first = [each.name for each in options.compute].index(node.name) * node.gpus
    own = list(found[first : first + node.gpus])
    if len(own) < node.gpus:
        raise SandboxError(f"{node.name} needs {node.gpus} GPUs; this machine has {list(found)}")
    return own


def size(nodes: int) -> Size:
    """A node's share of this machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MIB
    return Size(max(1, len(os.sched_getaffinity(0)) // nodes), max(1, memory // nodes))
