"""The document that `-o json` prints. docs/json.md describes each field, and a test compares both.

A field that is added leaves SCHEMA as it is; one that is removed, renamed or means something else
raises it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

SCHEMA = 1

_JOB = ("id", "name", "state", "reason", "exit_code", "start", "end", "nodes", "stdout", "stderr")
_GPUS = ("gpus", "seconds", "busy_percent", "memory_mib", "total_mib")
_FINDING = ("level", "part", "what", "where", "write")
_RESULT = ("step", "path", "model", "metrics")

Found = Mapping[str, Any]
"""What a module returned."""


def document(command: str, site: str, time: float, found: Found) -> str:
    """Return the document as text.

    Args:
        command: whose answer it is.
        site: its inventory.
        time: when it was made, in seconds since the epoch.
        found: `runs` and `comparison`, as training_run_info returns them; of the doctor `findings`.
    """
    whole: dict[str, Any] = {"schema": SCHEMA, "command": command, "site": site, "time": time}
    if command == "doctor":
        whole["findings"] = [_picked(one, _FINDING) for one in found["findings"]]
        whole["ready"] = all(one["level"] != "fault" for one in found["findings"])
        return json.dumps(_finite(whole), indent=2, allow_nan=False)
    whole["runs"] = [_run(run) for run in found["runs"]]
    if command == "runs":
        whole["comparison"] = [_compared(stage) for stage in found["comparison"]]
    return json.dumps(_finite(whole), indent=2, allow_nan=False)


def _run(run: Found) -> dict[str, Any]:
    return {
        "name": run["name"],
        "path": run["path"],
        "gpu_hours": _picked(run["gpu_hours"], ("used", "reserved")),
        "stages": [_stage(stage) for stage in run["stages"]],
        "damaged": [_picked(record, ("stage", "msg")) for record in run["damaged"]],
    }


def _stage(stage: Found) -> dict[str, Any]:
    progress = stage["progress"]
    return {
        "stage": stage["stage"],
        "phase": stage["job"]["phase"],
        **_picked(stage, ("known", "detail", "attempt", "seconds")),
        "job": _picked(stage["job"], _JOB),
        "progress": {
            **_picked(progress, ("step", "total", "metrics")),
            "doing": progress.get("doing"),
        },
        "gpus": _picked(stage["gpus"], _GPUS) if stage.get("gpus") else None,
        "result": _picked(stage["output"], _RESULT) if stage["output"] else None,
        "from": [_picked(one, ("stage", "job")) for one in stage.get("from") or ()],
        "options": _options(stage.get("spec") or {}),
        "record": stage.get("record"),
    }


def _options(spec: Found) -> dict[str, Any]:
    options = spec.get("options")
    return dict(options) if isinstance(options, Mapping) else {}


def _compared(stage: Found) -> dict[str, Any]:
    return {
        **_picked(stage, ("stage", "missing")),
        "differences": stage["spec"],
        "metrics": stage["metrics"],
    }


def _picked(found: Found, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: found.get(name) for name in names}


def _finite(value: Any) -> Any:
    """Return a value with null for numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
