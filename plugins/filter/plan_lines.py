"""The filter that shows what would be done, for a person who has to decide on it."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..module_utils.base.text import duration, listed, plural, size

DOCUMENTATION = r"""
name: plan_lines
short_description: Show what would be done, stage by stage
description:
  - Turns results of M(mnrun.train.slurm_job) and M(mnrun.train.ray_job) in check mode into lines
    for people, at most 80 columns wide. For each stage what is done and why, its steps, nodes, GPUs
    and hours as far as they are known, what is moved aside, and when Slurm expects to start it.
author: The mnrun authors (@mnrun)
options:
  _input:
    description: The results, in the order of the stages.
    type: list
    elements: dict
    required: true
  nodes:
    description: How many nodes the trainings use.
    type: int
    required: true
  gpus:
    description: GPUs on each of them.
    type: int
    required: true
  start:
    description: When Slurm expects to start the Ray cluster, in seconds since the epoch.
    type: float
"""

EXAMPLES = r"""
- name: Show the plan
  ansible.builtin.debug:
    msg: "{{ [sft_result] | mnrun.train.plan_lines(nodes=2, gpus=8) }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

_WIDTH = 80
_MARGIN = 10  # columns of the stage's name
_MOST = 3  # changes that are shown
_DOES = {"attached": "attach", "adopted": "attach", "stopped": "stop"}

Result = Mapping[str, Any]


def plan_lines(
    results: Iterable[Result], nodes: int = 1, gpus: int = 0, start: float | None = None
) -> list[str]:
    """Give the lines: the trainings one by one, what follows from them together, and the sum."""
    planned = [one for one in results if one.get("plan")]
    trainings = [one for one in planned if not _follows(one)]
    lines = [line for one in trainings for line in _stage(one, int(nodes), int(gpus), start)]
    lines += _followers([one for one in planned if _follows(one)])
    hours = [_gpu_hours(one, int(nodes), int(gpus)) for one in trainings]
    known = [each for each in hours if each is not None]
    if len(known) > 1:
        lines += _wrapped("total", f"about {_hours(sum(known))} GPU-hours")
    return lines


def _follows(result: Result) -> bool:
    return str(result["stage"]).startswith(("convert-", "publish"))


def _stage(result: Result, nodes: int, gpus: int, start: float | None) -> Iterator[str]:
    plan = result["plan"]
    yield from _wrapped(str(result["stage"]), _what(result))
    if not _submits(result):
        return
    parts = [f"{plan['steps']} steps"] if plan["steps"] else []
    parts.append(f"{nodes} x {gpus} GPUs" if gpus else plural(nodes, "node"))
    if plan["seconds"]:
        parts.append(f"about {duration(plan['seconds'])}")
    hours = _gpu_hours(result, nodes, gpus)
    parts += [f"{_hours(hours)} GPU-hours"] if hours is not None else []
    begin = plan["start"] or start
    parts += [f"would start {_clock(begin)}"] if begin else []
    yield from _wrapped("", ", ".join(parts))
    parts = []
    if plan["aside"]:
        whose = "the finished work" if plan["finished"] else "checkpoints of other options"
        parts.append(f"sets aside {whose} in {plan['aside']}")
    if plan["bytes"]:
        parts.append(f"needs {size(plan['bytes'])} for checkpoints")
    if parts:
        yield from _wrapped("", "; ".join(parts))


def _submits(result: Result) -> bool:
    return result["plan"]["does"] in ("submitted", "resubmitted", "replaced")


def _what(result: Result) -> str:
    plan, why = result["plan"], str(result.get("msg") or "")
    does, changes = plan["does"], list(dict.fromkeys(plan["changes"]))
    more = [f"{len(changes) - _MOST} more"] if len(changes) > _MOST else []
    shown = listed([*changes[:_MOST], *more]) if changes else ""
    if does == "nothing":
        return f"done, {plan['steps']} steps" if plan["steps"] else "done"
    if does == "submitted":
        return f"train again: {shown}" if shown else "train"
    if does == "resubmitted":
        step = plan["first_step"]
        begin = f"resume from step {step}" if step else "train from the beginning"
        return f"{begin}: {why.partition('. ')[0].rstrip('.')}"
    return f"{_DOES.get(does, does)}: {why.partition('. ')[0].rstrip('.')}"


def _followers(results: Sequence[Result]) -> Iterator[str]:
    for word in ("convert", "publish"):
        own = [one for one in results if str(one["stage"]).startswith(word)]
        pending = [one for one in own if one["plan"]["does"] != "nothing"]
        names = [str(one["stage"]).partition("-")[2] for one in pending or own]
        if own:
            done = "then " if pending else "done: "
            yield from _wrapped(word, f"{done}{listed(names)}")


def _gpu_hours(result: Result, nodes: int, gpus: int) -> float | None:
    seconds = result["plan"]["seconds"]
    return seconds * nodes * gpus / 3600 if seconds and gpus and _submits(result) else None


def _hours(hours: float) -> str:
    return f"{hours:.0f}" if hours >= 9.5 else f"{hours:.1f}" if hours >= 0.1 else f"{hours:.2f}"


def _clock(begin: float) -> str:
    """At what time, with the day unless it is today."""
    now, then = time.localtime(), time.localtime(begin)
    if begin <= time.time() + 60:
        return "now"
    return time.strftime("%H:%M" if now[:3] == then[:3] else "%Y-%m-%d %H:%M", then)


def _wrapped(title: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=f"{title:<{_MARGIN}}"[: max(_MARGIN, len(title) + 1)],
        subsequent_indent=" " * _MARGIN,
        break_long_words=False,
        break_on_hyphens=False,
    )


class FilterModule:
    """The filter as Ansible finds it."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by their names."""
        return {"plan_lines": plan_lines}
