"""Lines about a stage, as plain ansible-playbook shows them and `mnrun` reads them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from ..module_utils.stage.describe import line
from .relay_turns import lines

VARIABLE = "MNRUN_LINES"
"""Set by `mnrun` for the ansible-playbook that it runs: what it reads behind a line (`state`), and
whether it shows the log (`log`)."""

_BEHIND = "\x1f"
"""Between a line and what `mnrun` reads; no text has it, see base/text.py."""

_ENTRY = ("attempt", "known", "detail", "seconds", "why", "last_line")
_TABLE = (*_ENTRY, "stage", "job", "progress", "timing", "gpus", "output", "record", "from")
_JOB = ("id", "name", "phase", "state", "reason", "nodes")


def lasting(stage: str, text: str) -> str:
    """A line that stays on the screen, even if it is a log's and begins as a passing one does."""
    return f"[{stage}] {' ' if text.startswith('…') else ''}{text}"


def passing(stage: str, text: str, entry: Mapping[str, Any] | None = None) -> str:
    """A line that the stage's next one replaces: how far it is, and what it waits for.

    `entry` is what a module answered about the stage: `mnrun`, which says by VARIABLE that it reads
    it, shows that in a form of its own, and more often.
    """
    known = f"{_BEHIND}{json.dumps(_state(entry))}" if entry and read_by_mnrun() else ""
    return f"[{stage}] … {text}{known}"


def watched(answer: Mapping[str, Any], pause: float) -> str:
    """All stages of a run at one moment: for `mnrun` behind a line, for others a line each.

    `answer` is that of slurm_job_info, `pause` the seconds until the next one.
    """
    shown = [one for one in answer["stages"] if not one["stage"].startswith("relay")]
    if not read_by_mnrun():
        return "\n".join(passing(one["stage"], line(one)) for one in shown)
    found = {
        "stages": [{name: one.get(name) for name in _TABLE} for one in shown],
        "damaged": [str(one["msg"]) for one in answer["damaged"]],
        "relay": list(lines(answer["stages"])),
        "pause": pause,
    }
    return f"[status] … {_BEHIND}{json.dumps(found)}"


def read_by_mnrun() -> bool:
    """Whether `mnrun` reads the lines."""
    return VARIABLE in os.environ


def wants_log() -> bool:
    """Whether `mnrun` shows the lines of a job's log as well (`-v`)."""
    return os.environ.get(VARIABLE) == "log"


def _state(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: entry.get(name) for name in _ENTRY},
        "job": {name: (entry.get("job") or {}).get(name) for name in _JOB},
        "progress": dict(entry.get("progress") or {}),
        "timing": dict(entry.get("timing") or {}),
    }
