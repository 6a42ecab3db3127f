"""The table of `mnrun status`: two lines for each stage, in 80 columns, and more under -v."""

from __future__ import annotations

import json
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import Any

from mnrun.contract import Progress, StageStatus
from mnrun.lines import duration

WIDTH = 80
_PIPELINE = ("environment", "fetch", "sft", "convert-sft", "ray", "ppo", "convert-ppo", "publish")
_HEAD = ("STAGE", "STATE", "STEP", "STARTED", "ELAPSED", "ETA", "GPU-H")
_INDENT = " " * 13
_TELLING = ("sampled_score", "reward", "loss")
"""The metrics that say most, the first one that is there."""


def stage_table(stages: Sequence[StageStatus], verbose: bool = False) -> list[str]:
    """Return a table of stages, from the answers of slurm_job_info and ray_job_info.

    Args:
        stages: in any order; those of the pipeline come in its own.
        verbose: with paths, all metrics, and the use of the GPUs.
    """
    if not stages:
        return ["Nothing has run yet."]
    in_order = sorted(stages, key=_place)
    head, *rows = _columns([_HEAD, *map(_row, in_order)])
    lines = [head]
    for row, stage in zip(rows, in_order, strict=True):
        lines += [row, *_wrapped(list(_details(stage, verbose)))]
        lines += [f"{_INDENT}{text}" for text in _paths(stage)] if verbose else []
    return lines


def _place(stage: StageStatus) -> tuple[int, float]:
    name, start = stage["stage"], stage["job"]["start"] or inf
    return (_PIPELINE.index(name) if name in _PIPELINE else len(_PIPELINE), start)


def _row(stage: StageStatus) -> tuple[str, ...]:
    timing, begun = stage.get("timing") or {}, stage["job"]["start"]
    seconds, hours = stage.get("seconds"), timing.get("gpu_hours")
    return (
        stage["stage"],
        stage["job"]["state"] + ("" if stage["known"] else "?"),
        _steps(stage["progress"]),
        _moment(begun, timing.get("now")) if begun else "",
        "" if seconds is None else duration(seconds),
        _left(stage),
        "" if hours is None else f"{hours:.1f}",
    )


def _left(stage: StageStatus) -> str:
    """The time to the last step, by what a step took on average."""
    progress, each = stage["progress"], (stage.get("timing") or {}).get("step_seconds")
    total, step = progress.get("total"), progress.get("step")
    live = stage["job"]["phase"] == "running" and not progress.get("doing")
    return duration((total - (step or 0)) * each) if live and each and total else ""


def _moment(at: float, now: float | None) -> str:
    there, here = time.localtime(at), time.localtime(now)
    return time.strftime("%H:%M" if there[:3] == here[:3] else "%b %d %H:%M", there)


def _details(stage: StageStatus, verbose: bool) -> Iterator[str]:
    job, timing = stage["job"], stage.get("timing") or {}
    yield from _waits(stage)
    if not stage["known"]:
        yield f"as it was known last: {stage['detail']}"
    metrics = stage["progress"].get("metrics") or {}
    yield from compared(metrics) if verbose else metric(metrics, since_first=True)
    if job["id"]:
        yield f"job {job['id']}"
    yield f"attempt {stage['attempt']}"
    for one in stage.get("from") or ():
        yield f"from {one['stage']} (job {one['job']})"
    nodes = job["nodes"] or timing.get("nodes")
    if nodes:
        gpus = timing.get("gpus")
        yield f"{gpus} GPUs on {nodes}" if gpus else str(nodes)
    use = stage.get("gpus")
    if use and verbose:
        yield str(use["text"])


def _waits(stage: StageStatus) -> Iterator[str]:
    """Why it waits, or what the scheduler says about its end."""
    reason, expected = stage["job"]["reason"], (stage.get("timing") or {}).get("expected")
    if reason:
        yield f"{stage['why']} ({reason})" if stage.get("why") else reason
    if expected:
        yield f"expected to start {_moment(expected, stage['timing']['now'])}"


def _paths(stage: StageStatus) -> Iterator[str]:
    output = stage["output"] or {}
    paths = {"result": output.get("path"), "log": stage["job"]["stdout"],
             "record": stage.get("record")}  # fmt: skip
    yield from (f"{name:<7} {path}" for name, path in paths.items() if path)
    for one in stage.get("services") or ():
        yield f"service {one['name']} on {one['node']}, {one['address'] or 'starting'}"
        yield f"{'':<7} {one['log']}"


def _wrapped(parts: list[str]) -> Iterator[str]:
    """Lines of as many parts as fit; a part that does not fit alone is wrapped."""
    line = ""
    for part in parts:
        longer = f"{line} · {part}" if line else part
        if line and len(_INDENT) + len(longer) > WIDTH:
            yield from _indented(line)
            longer = part
        line = longer
    yield from _indented(line)


def _indented(line: str) -> list[str]:
    return textwrap.wrap(
        line, WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT, break_on_hyphens=False
    )


def _steps(progress: Progress) -> str:
    step, total = progress.get("step"), progress.get("total")
    if total is None:
        return "" if step is None else str(step)
    return f"{step or 0}/{total}"


def compared(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Yield each metric with its first value and its last one."""
    for name, last in metrics.items():
        first = metrics.get(f"first_{name}", last)
        if not name.startswith("first_"):
            came_from = "" if first == last else f"{_number(first)} → "
            yield f"{name.replace('_', ' ')} {came_from}{_number(last)}"


def metric(metrics: Mapping[str, Any], since_first: bool = False) -> list[str]:
    """Return the one metric that says most, with its last value; none without any.

    Args:
        metrics: as `progress` has them.
        since_first: with its first value as well.
    """
    names = (*_TELLING, *(name for name in metrics if not name.startswith("first_")))
    name = next((name for name in names if name in metrics), None)
    if name is None:
        return []
    kept = (f"first_{name}", name) if since_first else (name,)
    return list(compared({one: metrics[one] for one in kept if one in metrics}))


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    cells = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
    return ["  ".join(row).rstrip() for row in cells]
