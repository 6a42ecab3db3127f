"""The filters that show the runs of a site to people: all of them, or two of them compared."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..module_utils.base.fingerprint import MISSING, canonical
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


_TRAINED = ("sft", "ppo")
_MOST_OPTIONS = 4  # in a row; two runs compared show all of them


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
    differing = _differing(runs)
    for row, cell in zip(rows, ["OPTIONS", *differing] if any(differing) else [], strict=False):
        row.append(cell)
    return columns(rows)


def _differing(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of each run, the options that are not the same in all runs."""
    given = [
        {
            (entry["stage"], name): json.dumps(value).strip('"')
            for entry in run["stages"]
            for name, value in canonical((entry.get("spec") or {}).get("options") or {}).items()
            if entry["stage"] in _TRAINED
        }
        for run in runs
    ]
    named = {key for options in given for key in options}
    seen: dict[tuple[str, str], set[str]] = {}
    for options in given:
        stages = {stage for stage, _name in options}
        for key in named:
            if key[0] in stages:
                seen.setdefault(key, set()).add(options.get(key, MISSING))
    differ = sorted(key for key, values in seen.items() if len(values) > 1)
    last = [name.rpartition(".")[2] for _stage, name in differ]
    titles = {
        key: short if last.count(short) == 1 else ".".join(key)
        for key, short in zip(differ, last, strict=True)
    }
    return [_listed([f"{titles[key]}={one[key]}" for key in differ if key in one]) for one in given]


def _listed(parts: Sequence[str]) -> str:
    more = [f"+{len(parts) - _MOST_OPTIONS}"] if len(parts) > _MOST_OPTIONS else []
    return " ".join([*parts[:_MOST_OPTIONS], *more])


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
