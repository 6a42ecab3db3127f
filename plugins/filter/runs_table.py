"""The filters that show the runs of a site to people: all of them, or two of them compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..module_utils.record.names import SERVICES
from ..module_utils.trainer.metrics import number, words
from ..plugin_utils.run_table import columns

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
    stages, rows = result["table"]["stages"], result["table"]["rows"]
    if result["comparison"]:
        names = [row["name"] for row in rows]
        compared = [stage for stage in result["comparison"] if stage["stage"] not in SERVICES]
        return [line for stage in compared for line in _compared(stage, names)]
    return _table(stages, rows) if rows else ["Nothing has run yet."]


def _table(stages: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [["RUN", "LAST JOB", *(stage.upper() for stage in stages)]]
    lines += [[row["name"], _last(row), *row["cells"]] for row in rows]
    options = [row["options"] for row in rows]
    for line, cell in zip(lines, ["OPTIONS", *options] if any(options) else [], strict=False):
        line.append(cell)
    return columns(lines)


def _last(row: Mapping[str, Any]) -> str:
    """When a job of the run ended last, or that one has not; the clock is the reader's."""
    if row["live"]:
        return "now"
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(row["ended"])) if row["ended"] else "-"


def _compared(stage: Mapping[str, Any], runs: Sequence[str]) -> Iterator[str]:
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
            values = ", ".join(f"{_value(had, name)} in {run}" for run, had in pairs)
            yield f"  {words(name)}: {values}"


def _value(metrics: Mapping[str, float], name: str) -> str:
    return number(metrics[name]) if name in metrics else "-"


class FilterModule:
    """The filter as Ansible finds it."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by their names."""
        return {"runs_table": runs_table}
