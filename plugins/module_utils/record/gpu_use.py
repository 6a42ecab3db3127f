"""How much a job used its GPUs, according to itself: gpus-<n>-<node>.json in its record's folder.

roles/ray_cluster/files/cluster_use.py writes them. What cannot be read counts for nothing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Mapping

from ..base.files import parse_json
from ..base.presence import names, read_text
from .contract import Attempt

_FILE = re.compile(r"gpus-([0-9]{1,6})-([A-Za-z0-9][\w.-]{0,200})\.json")
_MOST = 1e12  # of any figure
_FIGURES = ("seconds", "busy_percent", "most_percent", "memory_mib", "total_mib")


def read(folder: Path, attempt: Attempt) -> dict[str, Any] | None:
    """The use of an attempt's GPUs: of all together, and of each node's. None if it is not known.

    Returns:
        `gpus` (how many), `seconds`, `busy_percent` (the mean), `memory_mib` (the most on one GPU),
        `total_mib` (of that GPU), `text` (all that in words), and `nodes`: name -> `gpus` (one
        entry for each) and the time line, `busy_percents`, `seconds_a_bin` apart.
    """
    try:
        found = [match for name in names(folder) if (match := _FILE.fullmatch(name))]
        own = [match for match in found if int(match.group(1)) == attempt.number]
        read_ = {match.group(2): _node(folder / match.group(), attempt) for match in own}
    except OSError:
        return None
    nodes = {node: use for node, use in sorted(read_.items()) if use}
    gpus = [gpu for use in nodes.values() for gpu in use["gpus"]]
    if not gpus:
        return None
    largest = max(gpus, key=lambda gpu: gpu["memory_mib"])
    busy = sum(gpu["busy_percent"] for gpu in gpus) / len(gpus)
    together = {
        "gpus": len(gpus),
        "seconds": max(gpu["seconds"] for gpu in gpus),
        "busy_percent": round(busy, 1),
        "memory_mib": largest["memory_mib"],
        "total_mib": largest["total_mib"],
    }
    return {**together, "text": _text(together), "nodes": nodes}


def _text(use: Mapping[str, Any]) -> str:
    memory, total = (use[name] / 1024 for name in ("memory_mib", "total_mib"))
    return f"GPUs {use['busy_percent']:.0f} % busy, {memory:.0f} of {total:.0f} GiB"


def _node(path: Path, attempt: Attempt) -> dict[str, Any] | None:
    data = parse_json(read_text(path) or "")
    if not isinstance(data, dict) or data.get("job_id") != attempt.job_id:
        return None
    gpus = data.get("gpus")
    if not isinstance(gpus, list) or not all(isinstance(gpu, dict) for gpu in gpus):
        return None
    kept = [{name: gpu.get(name) for name in _FIGURES} for gpu in gpus]
    line = data.get("busy_percents")
    width = data.get("seconds_a_bin")
    if not isinstance(line, list) or not _numbers([width, *line]):
        return None
    if not all(_numbers(list(gpu.values())) for gpu in kept):
        return None
    return {"gpus": kept, "seconds_a_bin": width, "busy_percents": line}


def _numbers(values: list[Any]) -> bool:
    return all(type(value) in (int, float) and 0 <= value < _MOST for value in values)
