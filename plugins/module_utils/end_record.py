"""What a job writes about itself: start-<n>.json and end-<n>.json in its record's folder.

The shell part that writes them is in script.py. They are first-hand: they stand when the
scheduler has forgotten the job and the site has no accounting.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .files import read_text
from .job import Attempt, JobRef, Observation, Phase


def start_path(folder: Path, number: int) -> Path:
    """The file that the job of attempt `number` writes when it starts."""
    return folder / f"start-{number}.json"


def end_path(folder: Path, number: int) -> Path:
    """The file that the job of attempt `number` writes when it has ended."""
    return folder / f"end-{number}.json"


def read_start(folder: Path, attempt: Attempt) -> JobRef | None:
    """The job that began to work on an attempt, by its own word."""
    data = _read(start_path(folder, attempt.number))
    if data is None or data.get("token") != attempt.token:
        return None
    return JobRef(str(data["job_id"]), str(data.get("cluster", "")))


def read_end(folder: Path, attempt: Attempt) -> Observation | None:
    """How the job of an attempt ended, by its own word. None if it did not say."""
    data = _read(end_path(folder, attempt.number))
    if data is None or data.get("token") != attempt.token:
        return None
    if attempt.job_id and str(data["job_id"]) != attempt.job_id:
        return None
    code = data.get("exit_code")
    if not isinstance(code, int):
        return None
    return Observation(
        phase=Phase.FAILED if code else Phase.SUCCEEDED,
        state="FAILED" if code else "COMPLETED",
        reason="as the job itself recorded",
        exit_code=code,
        start=_seconds(data.get("start")),
        end=_seconds(data.get("end")),
    )


def _read(path: Path) -> dict[str, Any] | None:
    """A record that is not whole says nothing: the scheduler then has the word."""
    text = read_text(path)
    if not text:
        return None
    try:
        data = json.loads(text)
    except ValueError:
        return None
    return data if isinstance(data, dict) and data.get("job_id") else None


def _seconds(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
