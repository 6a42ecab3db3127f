"""The table of runs: of each, what a person compares.

It is made where the records are: all that is known about hundreds of runs is megabytes.
"""

from __future__ import annotations

import json
from typing import Any, Mapping, Sequence

from ..base.fingerprint import MISSING, canonical
from ..record.names import DONE, SERVICES
from ..trainer.metrics import most_telling, steps_of

_TRAINED = ("sft", "ppo")
_MOST_OPTIONS = 4  # in a row; two runs compared show all of them
_LIVE = ("queued", "running", "ending")

Runs = Sequence[Mapping[str, Any]]


def table(runs: Runs) -> dict[str, Any]:
    """The stages in the order in which they first started, and a row for each described run."""
    seen = {entry["stage"]: None for run in runs for entry in run["stages"]}
    stages = [stage for stage in seen if stage not in SERVICES]
    stages.sort(key=lambda stage: _first_start(runs, stage))
    rows = [
        {
            "name": run["name"],
            "live": _live(run),
            "ended": _ended(run),
            "cells": [_cell(run, stage) for stage in stages],
            "options": options,
        }
        for run, options in zip(runs, _differing(runs))
    ]
    return {"stages": stages, "rows": rows}


def _differing(runs: Runs) -> list[str]:
    """Of each run, the options that are not the same in all runs."""
    given = [_options(run) for run in runs]
    differ = [
        (stage, name)
        for stage in sorted(_TRAINED)
        for name in _differ([one[stage] for one in given if one.get(stage)])
    ]
    last = [name.rpartition(".")[2] for _stage, name in differ]
    titles = {
        key: short if last.count(short) == 1 else ".".join(key) for key, short in zip(differ, last)
    }
    return [
        _listed([f"{titles[s, n]}={_text(one[s][n])}" for s, n in differ if n in one.get(s, {})])
        for one in given
    ]


def _options(run: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Those of each stage that trains."""
    return {
        entry["stage"]: (entry.get("spec") or {}).get("options") or {}
        for entry in run["stages"]
        if entry["stage"] in _TRAINED
    }


def _differ(given: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of the options in which these differ. Most are the same as they are written."""
    return sorted(
        name
        for name in {name: None for options in given for name in options}
        if len({repr(options.get(name, MISSING)) for options in given}) > 1
        and len({_text(options.get(name, MISSING)) for options in given}) > 1
    )


def _text(value: Any) -> str:
    return json.dumps(canonical(value)).strip('"')


def _listed(parts: Sequence[str]) -> str:
    more = [f"+{len(parts) - _MOST_OPTIONS}"] if len(parts) > _MOST_OPTIONS else []
    return " ".join([*parts[:_MOST_OPTIONS], *more])


def _first_start(runs: Runs, stage: str) -> float:
    entries = [entry for run in runs for entry in run["stages"] if entry["stage"] == stage]
    return min(_begin(entry) for entry in entries)


def _begin(entry: Mapping[str, Any]) -> float:
    return float((entry.get("job") or {}).get("start") or float("inf"))


def _live(run: Mapping[str, Any]) -> bool:
    return any((entry.get("job") or {}).get("phase") in _LIVE for entry in run["stages"])


def _ended(run: Mapping[str, Any]) -> float | None:
    """When a job of the run ended last; None if none has."""
    jobs = [entry.get("job") or {} for entry in run["stages"]]
    return max((job["end"] for job in jobs if job.get("end")), default=None)


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
