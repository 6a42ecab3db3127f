"""Lines about a stage, as plain ansible-playbook shows them and `mnrun` reads them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

VARIABLE = "MNRUN_LINES"
"""Set by `mnrun` for the ansible-playbook that it runs: what it reads behind a line (`state`), and
whether it shows the log (`log`)."""

_BEHIND = "\x1f"
"""Between a line and what `mnrun` reads; no text has it, see base/text.py."""

_ENTRY = ("attempt", "known", "detail", "seconds", "why", "last_line")
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
