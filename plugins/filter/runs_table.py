"""The filters that show the runs of a site to people: all of them, or two of them compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..module_utils.trainer.metrics import most_telling, number, steps_of, words
from ..plugin_utils.run_table import DONE, SERVICES, columns

DOCUMENTATION = r"""
name: runs_table
short_description: Show runs as a table, or two runs compared
description:
  - Turns the result of M(mnrun.train.training_run_info) into lines for people. For two named runs,
    their differences; otherwise a table with one row for each run.
author: The mnrun authors (@mnrun)
options:
  _input:
    description: The module's result.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the runs
  ansible.builtin.debug:
    msg: "{{ runs_result | mnrun.train.runs_table }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""


def runs_table(result: Mapping[str, Any]) -> list[str]:
    """Give the lines: a comparison if the result holds one, else a table."""
    runs = result["runs"]
    if result["comparison"]:
        stages = [stage for stage in result["comparison"] if stage["stage"] not in SERVICES]
        return [line for stage in stages for line in _compared(stage, runs)]
    return _table(runs) if runs else ["Nothing has run yet."]


def _table(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    seen = {entry["stage"]: None for run in runs for entry in run["stages"]}
    stages = [stage for stage in seen if stage not in SERVICES]
    stages.sort(key=lambda stage: _first_start(runs, stage))
    rows = [["RUN", "LAST JOB", *(stage.upper() for stage in stages)]]
    rows += [[run["name"], _last(run), *(_cell(run, stage) for stage in stages)] for run in runs]
    return columns(rows)


def _first_start(runs: Sequence[Mapping[str, Any]], stage: str) -> float:
    entries = [entry for run in runs for entry in run["stages"] if entry["stage"] == stage]
    return min(_begin(entry) for entry in entries)


def _begin(entry: Mapping[str, Any]) -> float:
    return float((entry.get("job") or {}).get("start") or float("inf"))


def _last(run: Mapping[str, Any]) -> str:
    """When a job of the run ended last, or that one has not."""
    jobs = [entry.get("job") or {} for entry in run["stages"]]
    if any(job.get("phase") in ("queued", "running", "ending") for job in jobs):
        return "now"
    ends = [job["end"] for job in jobs if job.get("end")]
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(max(ends))) if ends else "-"


def _cell(run: Mapping[str, Any], stage: str) -> str:
    entry = next((entry for entry in run["stages"] if entry["stage"] == stage), None)
    if entry is None:
        return "-"
    state, progress = str((entry.get("job") or {}).get("state")), entry["progress"]
    parts = [] if state in DONE else [state]
    parts += steps_of(progress)
    parts += most_telling(progress["metrics"])
    parts += [f"from {one['stage']} (job {one['job']})" for one in _origins(entry)]
    return ", ".join(parts) or state


def _origins(entry: Mapping[str, Any]) -> list[Mapping[str, str]]:
    """Of a training, the one whose result it started from."""
    follows = entry["stage"].startswith(("convert", "publish"))
    return [] if follows else entry.get("from") or []


def _compared(stage: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield stage["stage"]
    if stage["missing"]:
        yield f"  not run in {', '.join(stage['missing'])}"
        return
    if not stage["spec"]:
        yield "  the same spec"
    yield from (f"  {line}" for line in stage["spec"])
    first, second = stage["metrics"]
    for name in dict.fromkeys([*first, *second]):
        if not name.startswith("first_"):
            pairs = zip(runs, (first, second), strict=True)
            values = ", ".join(f"{_value(had, name)} in {run['name']}" for run, had in pairs)
            yield f"  {words(name)}: {values}"


def _value(metrics: Mapping[str, float], name: str) -> str:
    return number(metrics[name]) if name in metrics else "-"


class FilterModule:
    """The filter as Ansible finds it."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by their names."""
        return {"runs_table": runs_table}
