"""Stages as a status query returns them."""

from __future__ import annotations

from typing import Any

from mnrun.contract import Job, Progress, StageStatus


def stage_status(
    stage: str, job: dict[str, Any], progress: Progress | None = None, known: bool = True
) -> StageStatus:
    """A stage with a job of which only `job` is known."""
    unknown: Job = {
        "id": "",
        "name": "",
        "phase": "",
        "state": "",
        "reason": "",
        "exit_code": None,
        "start": None,
        "end": None,
        "nodes": "",
        "stdout": "",
        "stderr": "",
    }
    return {
        "stage": stage,
        "known": known,
        "detail": "",
        "attempt": 1,
        "job": {**unknown, **job},  # type: ignore[typeddict-item]  # of a test's own making
        "progress": progress or {"step": None, "total": None, "metrics": {}},
        "output": None,
    }
