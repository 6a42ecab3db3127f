"""How much a job used its GPUs, according to itself: gpus-<n>-<node>.json in its record's folder.

roles/ray_cluster/files/cluster_use.py writes them. What cannot be read counts for nothing. A Ray
job has its part of the time line of its Ray cluster, if that belongs to the same run.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, Mapping

from ..base.files import parse_json
from ..base.presence import names, read_text
from .contract import Attempt
from .inside import slurm_job

_FILE = re.compile(r"gpus-([0-9]{1,6})-([A-Za-z0-9][\w.-]{0,200})\.json")
_MOST = 1e12  # of any figure
_CLUSTER = "ray"  # the stage whose job a Ray job runs in
_FIGURES = ("seconds", "busy_percent", "most_percent", "memory_mib", "total_mib")


def read(folder: Path, attempt: Attempt) -> dict[str, Any] | None:
    """The use of an attempt's GPUs: of all together, and of each node's. None if it is not known.

    Returns:
        `gpus` (how many), `seconds`, `busy_percent` (the mean), `memory_mib` (the most on one GPU),
        `total_mib` (of that GPU), `text` (all that in words), and `nodes`: name -> `gpus` (one
        entry for each) and the time line, `busy_percents`, `seconds_a_bin` apart. Of a Ray job also
        `idle_gpu_seconds`: how long its cluster had the GPUs while it did not run, times the GPUs.
    """
    try:
        nodes = _in_cluster(folder, attempt) if attempt.head_job else _own(folder, attempt)
    except OSError:
        return None
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
    idle = [use.pop("idle") for use in nodes.values() if "idle" in use]
    more = {"idle_gpu_seconds": round(sum(idle))} if idle else {}
    return {**together, **more, "text": _text({**together, **more}), "nodes": nodes}


def _own(folder: Path, attempt: Attempt) -> dict[str, dict[str, Any]]:
    """What each node of a job wrote."""
    found = [match for name in names(folder) if (match := _FILE.fullmatch(name))]
    own = [match for match in found if int(match.group(1)) == attempt.number]
    read_ = {one.group(2): _node(folder / one.group(), attempt.job_id) for one in own}
    return {node: use for node, use in sorted(read_.items()) if use}


def _in_cluster(folder: Path, attempt: Attempt) -> dict[str, dict[str, Any]]:
    """What each node of a Ray job's cluster wrote, for the time of the job."""
    stage = folder.parent.parent / _CLUSTER
    files = [stage / one / name for one in names(stage) if (stage / one).is_dir()
             for name in names(stage / one) if _FILE.fullmatch(name)]  # fmt: skip
    nodes = {file.name.split("-", 2)[2][: -len(".json")]: _node(file, attempt.head_job)
             for file in sorted(files)}  # fmt: skip
    parts = {node: _part(use, attempt) for node, use in sorted(nodes.items()) if use}
    return {node: part for node, part in parts.items() if part}


def _part(use: dict[str, Any], attempt: Attempt) -> dict[str, Any] | None:
    """A node's use from an attempt's start to its end. None if that is not known, or too short."""
    width, line, begun = use["seconds_a_bin"], use["busy_percents"], use["start"]
    if attempt.start is None or not begun or not width:
        return None
    first = max(0, math.floor((attempt.start - begun) / width))
    last = len(line) if attempt.end is None else math.ceil((attempt.end - begun) / width)
    part = line[first : max(last, first)]
    if not part:
        return None
    own = {"seconds": len(part) * width, "busy_percent": sum(part) / len(part),
           "most_percent": max(part)}  # fmt: skip
    idle = (len(line) - len(part)) * width * len(use["gpus"])
    gpus = [{**gpu, **own} for gpu in use["gpus"]]
    return {**use, "gpus": gpus, "busy_percents": part, "idle": idle}


def _text(use: Mapping[str, Any]) -> str:
    memory, total = (use[name] / 1024 for name in ("memory_mib", "total_mib"))
    text = f"GPUs {use['busy_percent']:.0f} % busy, {memory:.0f} of {total:.0f} GiB"
    idle = use.get("idle_gpu_seconds")
    return f"{text}, {idle} GPU-seconds idle" if idle else text


def _node(path: Path, job_id: str) -> dict[str, Any] | None:
    data = parse_json(read_text(path) or "")
    if not isinstance(data, dict) or data.get("job_id") != slurm_job(job_id):
        return None
    gpus = data.get("gpus")
    if not isinstance(gpus, list) or not all(isinstance(gpu, dict) for gpu in gpus):
        return None
    kept = [{name: gpu.get(name) for name in _FIGURES} for gpu in gpus]
    line = data.get("busy_percents")
    width, start = data.get("seconds_a_bin"), data.get("start", 0.0)
    if not isinstance(line, list) or not _numbers([width, start, *line]):
        return None
    if not all(_numbers(list(gpu.values())) for gpu in kept):
        return None
    return {"gpus": kept, "start": start, "seconds_a_bin": width, "busy_percents": line}


def _numbers(values: list[Any]) -> bool:
    return all(type(value) in (int, float) and 0 <= value < _MOST for value in values)
