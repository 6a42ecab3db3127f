"""Slurm's nodes: which of a job's have failed, and which the next job can do without."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Mapping

from ..base.logfile import clean_lines, tail
from .client import SlurmClient
from .nodelist import names_in

_NODE_FAILURE = re.compile(r"\bNode failure on ([\w.-]+)|\bnode ([\w.-]+) (?:failed|is down)")
_LOST = ("down", "fail")  # not "drained": that is often done on purpose, or because of a job
_FREE = ("idle", "mixed")


def lost_nodes(client: SlurmClient, nodelist: str, logs: list[Path]) -> list[str]:
    """The nodes of a list that are down or silent now, or that failed according to srun."""
    ours = names_in(nodelist)
    states = node_states(client) if ours else {}
    gone = {name for name in ours if is_lost(states.get(name, ""))}
    for path in logs:
        for line in clean_lines(tail(path)):
            gone.update(name for found in _NODE_FAILURE.findall(line) for name in found if name)
    return [name for name in ours if name in gone]


def node_states(client: SlurmClient) -> dict[str, str]:
    """Name -> state of all nodes, from `sinfo`; empty if there was no answer."""
    return {name: state.lower() for name, state in client.info("%n|%T") or []}


def is_lost(state: str) -> bool:
    """True for a node that Slurm does not use; a star marks one that does not respond."""
    return state.startswith(_LOST) or state.endswith("*")


def spare_nodes(client: SlurmClient, options: Mapping[str, str], nodes: list[str]) -> list[str]:
    """All of `nodes` that a job's `options` do not name, if enough others are free for it."""
    named = names_in(options.get("nodelist", ""))
    without = [name for name in nodes if name not in named]
    wanted = re.match(r"\d+", options.get("nodes", "1"))
    asked = [name for name in options.get("partition", "").split(",") if name]
    free = {
        name
        for name, state, partition in client.info("%n|%T|%R") or []
        if state.lower().startswith(_FREE) and not is_lost(state.lower())
        if name not in nodes and (not asked or partition in asked)
    }
    enough = wanted is not None and len(free) >= int(wanted.group())
    return without if enough else []
