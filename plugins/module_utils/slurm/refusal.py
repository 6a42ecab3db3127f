"""What Slurm refuses, explained so that a user can fix it: the option, its value, what exists."""

from __future__ import annotations

import re
from typing import Callable, Mapping, NamedTuple

from ..base.errors import Unknown
from .capacity import survey
from .client import SlurmClient
from .judge import judge


class _Case(NamedTuple):
    """One of Slurm's complaints: its text, the options that it is about, what exists instead."""

    words: str
    options: tuple[str, ...]
    existing: Callable[[SlurmClient], str]


def explain(complaint: str, options: Mapping[str, str], client: SlurmClient) -> str:
    """One message for sbatch's `complaint` about a job of these options."""
    core = _core(complaint)
    case = next((case for case in _CASES if re.search(case.words, core, re.IGNORECASE)), None)
    message = f"Slurm refuses the job, and nothing was submitted: {core}."
    if case is None:
        return message
    asked = [f"--{name}={options[name]}" for name in case.options if name in options]
    if asked:
        message += f" Requested: {' '.join(asked)}."
    return f"{message} {case.existing(client)}".rstrip()


def _core(complaint: str) -> str:
    """sbatch's own message without its prefixes; the most informative line first."""
    lines = [
        re.sub(r"^(sbatch: )?((fatal|error): )?", "", line).strip().rstrip(".")
        for line in complaint.splitlines()
        if line.strip()
    ]
    short = [
        re.sub(r"^(Batch job submission failed|allocation failure): ", "", line) for line in lines
    ]
    return "; ".join(dict.fromkeys(short))[:500] or "sbatch did not say why"


def never_starts(options: Mapping[str, str], client: SlurmClient) -> str:
    """What keeps a job of these options from ever starting; nothing if Slurm does not answer.

    Many sites' sbatch accepts such a request, and the job waits for ever.
    """
    try:
        faults = judge(options, survey(client)).faults
    except Unknown:
        return ""
    if not faults:
        return ""
    return (
        f"The job could not start, so nothing was submitted: {'; '.join(faults)}."
        f" {_partitions(client)}"
    )


def _partitions(client: SlurmClient) -> str:
    rows = client.info("%P|%D|%l")
    if not rows:
        return ""
    names = (f"{name} ({count} nodes, time limit {limit})" for name, count, limit in rows)
    return f"Existing partitions: {'; '.join(names)}."


def _nodes(client: SlurmClient) -> str:
    rows = client.info("%P|%N|%T")
    if not rows:
        return ""
    names = (f"{nodes} in {partition} ({state})" for partition, nodes, state in rows)
    return f"Existing nodes: {'; '.join(names)}."


def _equipment(client: SlurmClient) -> str:
    rows = client.info("%P|%D|%c|%m|%G|%N")
    if not rows:
        return ""
    kinds = (
        f"{partition}: {count} x ({cpus} CPUs, {memory} MB, {gres}) {nodes}"
        for partition, count, cpus, memory, gres, nodes in rows
    )
    return f"The nodes have: {'; '.join(kinds)}."


def _nothing(_client: SlurmClient) -> str:
    return ""


_CASES = (
    _Case(r"invalid partition", ("partition",), _partitions),
    _Case(r"partition not available|time limit", ("partition", "time"), _partitions),
    _Case(r"invalid node name|node.* not in partition", ("nodelist", "exclude"), _nodes),
    _Case(r"required node not available|Requested nodes? (are|is) busy", ("nodelist",), _nodes),
    _Case(
        r"node configuration is not available|generic resource|more processors|memory spec|"
        r"node count|cpu count",
        (
            "nodes",
            "gpus-per-node",
            "gres",
            "gpus",
            "cpus-per-task",
            "ntasks-per-node",
            "mem",
            "constraint",
            "nodelist",
            "partition",
        ),
        _equipment,
    ),
    _Case(r"invalid account", ("account", "partition"), _nothing),
    _Case(r"invalid qos", ("qos",), _nothing),
)
