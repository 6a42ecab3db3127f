"""What Slurm refuses, said so that a user can mend it: the option, its value, and what exists."""

from __future__ import annotations

import re
import shlex
from typing import Callable, NamedTuple

from ..record.recorder import split_head
from .client import SlurmClient

_SHORT = {
    "p": "partition",
    "N": "nodes",
    "w": "nodelist",
    "x": "exclude",
    "A": "account",
    "q": "qos",
    "t": "time",
    "c": "cpus-per-task",
    "n": "ntasks",
    "G": "gpus",
    "C": "constraint",
}


class _Case(NamedTuple):
    """One of Slurm's complaints: its words, the options it is about, what exists instead."""

    words: str
    options: tuple[str, ...]
    existing: Callable[[SlurmClient], str]


def directives(script: str) -> dict[str, str]:
    """The `#SBATCH` options of a script, long names without dashes; a flag's value is empty."""
    head, _body = split_head(script)
    found: dict[str, str] = {}
    for line in head.splitlines():
        if line.startswith("#SBATCH"):
            found.update(_options(_words(line[len("#SBATCH") :])))
    return found


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return text.split()


def _options(words: list[str]) -> dict[str, str]:
    found = {}
    for number, word in enumerate(words):
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
        elif word.startswith("-") and len(word) > 1:
            name, equals, value = _SHORT.get(word[1], word[1]), word[2:], word[2:].lstrip("=")
        else:
            continue
        following = words[number + 1] if number + 1 < len(words) else "-"
        if not equals and not following.startswith("-"):
            value = following
        found[name] = value
    return found


def explain(complaint: str, script: str, client: SlurmClient) -> str:
    """One message for sbatch's `complaint` about `script`."""
    core = _core(complaint)
    case = next((case for case in _CASES if re.search(case.words, core, re.IGNORECASE)), None)
    message = f"Slurm refuses the job, and nothing was submitted: {core}."
    if case is None:
        return message
    given = directives(script)
    asked = [f"--{name}={given[name]}" for name in case.options if name in given]
    if asked:
        message += f" Asked for: {' '.join(asked)}."
    return f"{message} {case.existing(client)}".rstrip()


def _core(complaint: str) -> str:
    """sbatch's own words without its prefixes; the most telling line first."""
    lines = [
        re.sub(r"^(sbatch: )?((fatal|error): )?", "", line).strip().rstrip(".")
        for line in complaint.splitlines()
        if line.strip()
    ]
    short = [
        re.sub(r"^(Batch job submission failed|allocation failure): ", "", line) for line in lines
    ]
    return "; ".join(dict.fromkeys(short))[:500] or "sbatch did not say why"


def never_starts(script: str, client: SlurmClient) -> str:
    """What is wrong if the job asks for more nodes or time than its partition has, else nothing.

    Many sites' sbatch accepts that, and the job waits for ever.
    """
    given = directives(script)
    asked = [name for name in given.get("partition", "").split(",") if name]
    wanted = re.match(r"\d+", given.get("nodes", ""))
    seconds = limit_seconds(given.get("time", ""))
    rows = client.info("%P|%D|%l") if wanted or seconds else None
    places = [
        row
        for row in rows or []
        if row[1].isdecimal() and (row[0].rstrip("*") in asked if asked else row[0][-1:] == "*")
    ]
    if not places:
        return ""
    place = f"partition {','.join(asked)}" if asked else "default partition"
    most = max(int(count) for _name, count, _limit in places)
    longest = max(limit_seconds(limit) or float("inf") for _name, _count, limit in places)
    if wanted and int(wanted.group()) > most:
        wrong = f"{wanted.group()} nodes (--nodes={given['nodes']}), but the {place} has {most}"
    elif seconds and seconds > longest:
        limits = " and ".join(limit for _name, _count, limit in places)
        wrong = f"--time={given['time']}, but the {place} allows {limits}"
    else:
        return ""
    return (
        f"The job asks for {wrong}: it would wait for ever, so nothing was submitted. "
        f"{_partitions(client)}"
    )


def limit_seconds(text: str) -> int | None:
    """A time limit as Slurm writes it (`30`, `30:00`, `6-00:00:00`); None for none."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if not match:
        return None
    days, *rest = (int(part) if part else None for part in match.groups())
    first, second, third = rest[0] or 0, rest[1] or 0, rest[2]
    if days is not None:  # days-hours[:minutes[:seconds]]
        return days * 86400 + first * 3600 + second * 60 + (third or 0)
    if third is not None:  # hours:minutes:seconds
        return first * 3600 + second * 60 + third
    return first * 60 + second  # minutes[:seconds]


def _partitions(client: SlurmClient) -> str:
    rows = client.info("%P|%D|%l")
    if not rows:
        return ""
    names = (f"{name} ({count} nodes, time limit {limit})" for name, count, limit in rows)
    return f"Partitions that exist: {'; '.join(names)}."


def _nodes(client: SlurmClient) -> str:
    rows = client.info("%P|%N|%T")
    if not rows:
        return ""
    names = (f"{nodes} in {partition} ({state})" for partition, nodes, state in rows)
    return f"Nodes that exist: {'; '.join(names)}."


def _equipment(client: SlurmClient) -> str:
    rows = client.info("%P|%D|%c|%m|%G|%N")
    if not rows:
        return ""
    kinds = (
        f"{partition}: {count} x ({cpus} CPUs, {memory} MB, {gres}) {nodes}"
        for partition, count, cpus, memory, gres, nodes in rows
    )
    return f"What the nodes have: {'; '.join(kinds)}."


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
