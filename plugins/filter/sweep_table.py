"""The filter that shows the runs of a sweep to people, the best one first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..module_utils.record.names import DONE, SERVICES
from ..module_utils.trainer.metrics import number, steps_of, telling, words
from ..plugin_utils.run_table import columns

DOCUMENTATION = r"""
name: sweep_table
short_description: Show the runs of a sweep as a table
description:
  - Turns the result of M(mnrun.train.training_run_info) into a table with one row for each run of a
    sweep, sorted by a metric, the best one first. Runs that have not started come last.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
options:
  _input:
    description: The module's result.
    type: dict
    required: true
  sweep:
    description: >-
      The sweep: C(runs), each with C(name) and C(values); C(axes), the headings of the values;
      C(metric) and C(best), both of which may be empty.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show a sweep
  ansible.builtin.debug:
    msg: "{{ runs_result | mnrun.train.sweep_table(given) }}"
  vars:
    given: {metric: loss, best: lowest, axes: [lr], runs: [{name: a, values: [0.1]}]}
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""


def sweep_table(result: Mapping[str, Any], sweep: Mapping[str, Any]) -> list[str]:
    """Give the lines."""
    stages = {run["name"]: _trained(run["stages"]) for run in result["runs"]}
    metric = sweep["metric"] or _most_telling(stages.values())
    lowest = sweep["best"] == "lowest" or (not sweep["best"] and "loss" in metric)
    rows = [
        (
            _value(stages.get(run["name"], []), metric),
            _row(run, stages.get(run["name"], []), metric),
        )
        for run in sweep["runs"]
    ]
    rows.sort(key=lambda row: _order(row[0], lowest))
    head = ["RUN", *sweep["axes"], "STATE", *([words(metric)] if metric else [])]
    lines = columns([head, *(cells for _value, cells in rows)])
    there = sorted({name for found in stages.values() for name in _metrics(found)})
    if metric and there and metric not in there:
        lines.append(f"No run has the metric {metric}. There are: {', '.join(there)}.")
    return lines


def _trained(stages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The stages with results, in the order in which they started."""
    found = [entry for entry in stages if entry["stage"] not in SERVICES]
    return sorted(found, key=lambda entry: (entry.get("job") or {}).get("start") or float("inf"))


def _metrics(stages: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Those of all stages; a later stage's count."""
    found: dict[str, float] = {}
    for entry in stages:
        found.update((entry.get("output") or {}).get("metrics") or entry["progress"]["metrics"])
    return {name: value for name, value in found.items() if not name.startswith("first_")}


def _most_telling(runs: Iterable[Sequence[Mapping[str, Any]]]) -> str:
    return telling({name: value for stages in runs for name, value in _metrics(stages).items()})


def _value(stages: Sequence[Mapping[str, Any]], metric: str) -> float | None:
    return _metrics(stages).get(metric)


def _order(value: float | None, lowest: bool) -> tuple[bool, float]:
    """A value that is no number is worse than any, and none at all is the last."""
    if value is None:
        return True, 0.0
    if value != value:  # noqa: PLR0124 - NaN
        return False, float("inf")
    return False, value if lowest else -value


def _row(run: Mapping[str, Any], stages: Sequence[Mapping[str, Any]], metric: str) -> list[str]:
    value = _value(stages, metric)
    shown = [] if not metric else ["-" if value is None else number(value)]
    return [run["name"], *run["values"], ", ".join(_states(stages)) or "not started", *shown]


def _states(stages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for entry in stages:
        state = str((entry.get("job") or {}).get("state"))
        parts = [entry["stage"], *steps_of(entry["progress"])]
        yield " ".join([*parts, *([] if state in DONE else [state])])


class FilterModule:
    """The filter as Ansible finds it."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by their names."""
        return {"sweep_table": sweep_table}
