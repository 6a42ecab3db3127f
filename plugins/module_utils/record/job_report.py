"""What a job writes about itself: start-<n>.json and end-<n>.json in its record's folder.

The shell code that writes them is in recorder.py. They remain available when the scheduler has
forgotten the job and the site has no accounting.
"""

from __future__ import annotations

import json
import os
import re
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..base.files import names, parse_json, read_text, sync_directory, write_atomic
from .contract import Attempt, JobRef, Observation, Phase

_START = re.compile(r"start-([0-9]{1,6})\.json")
_CLUSTER = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HIGHEST = 255  # exit code of a shell
_LATEST = 1e11  # seconds since the epoch: no job starts or ends later
_NOBODY = "none"  # in place of a job's id: the attempt was abandoned before any job started on it


def start_path(folder: Path, number: int) -> Path:
    """The file that the job of attempt `number` writes when it starts."""
    return folder / f"start-{number}.json"


def end_path(folder: Path, number: int) -> Path:
    """The file that the job of attempt `number` writes when it has ended."""
    return folder / f"end-{number}.json"


def read_start(folder: Path, attempt: Attempt) -> JobRef | None:
    """The job that started to work on an attempt, according to itself."""
    data = _read(start_path(folder, attempt.number))
    if data is None or data.get("token") != attempt.token or data["job_id"] == _NOBODY:
        return None
    return JobRef(str(data["job_id"]))


def started_on(folder: Path, attempt: Attempt) -> str:
    """ClusterName of the Slurm on which an attempt's job started; empty if it is not recorded."""
    data = _read(start_path(folder, attempt.number)) or {}
    name = data.get("cluster")
    own = data.get("token") == attempt.token and isinstance(name, str)
    return str(name) if own and _CLUSTER.fullmatch(str(name)) else ""


def claims(folder: Path) -> list[tuple[int, str, float]]:
    """Number, token and time of each attempt that a job claimed, or that was abandoned."""
    found = []
    for name in names(folder):
        match = _START.fullmatch(name)
        data = _read(folder / name) if match else None
        if match and data and isinstance(data.get("token"), str):
            found.append((int(match.group(1)), data["token"], _seconds(data.get("start")) or 0.0))
    return found


def claimed_by_another(folder: Path, attempt: Attempt) -> bool:
    """True if another job of this attempt than the known one does the work: a request that reached
    the scheduler twice may start in any order, and the second job ends."""
    started = read_start(folder, attempt)
    return started is not None and started.job_id != attempt.job_id


def give_up(folder: Path, attempt: Attempt, now: float) -> bool:
    """Claim an attempt for no job: a job of it that appears later finds the claim and ends.

    False: a job has started on it after all. Only one can create the link, here as in the job.
    """
    claim = start_path(folder, attempt.number)
    part = folder / f".{claim.name}.{attempt.token}"
    text = {"job_id": _NOBODY, "token": attempt.token, "host": socket.gethostname(), "start": now}
    write_atomic(part, json.dumps(text) + "\n")
    try:
        with suppress(FileExistsError):
            os.link(part, claim)
    finally:
        part.unlink()
    sync_directory(folder)
    return given_up(folder, attempt)


def given_up(folder: Path, attempt: Attempt) -> bool:
    """True if no job can start on this attempt any more."""
    data = _read(start_path(folder, attempt.number))
    return data is not None and data["job_id"] == _NOBODY and data.get("token") == attempt.token


def read_end(folder: Path, attempt: Attempt) -> Observation | None:
    """How the job of an attempt ended, according to itself. None if it recorded nothing."""
    data = _read(end_path(folder, attempt.number))
    if data is None or data.get("token") != attempt.token:
        return None
    if attempt.job_id and str(data["job_id"]) != attempt.job_id:
        return None
    code = data.get("exit_code")
    if type(code) is not int or not 0 <= code <= _HIGHEST:
        return None
    return Observation(
        phase=Phase.FAILED if code else Phase.SUCCEEDED,
        state="FAILED" if code else "COMPLETED",
        reason="as the job itself recorded",
        exit_code=code,
        start=_seconds(data.get("start")),
        end=_seconds(data.get("end")),
        step=data["last_step"] if isinstance(data.get("last_step"), int) else None,
    )


def _read(path: Path) -> dict[str, Any] | None:
    """A record that is not intact counts for nothing: then the scheduler decides."""
    text = read_text(path)
    if not text:
        return None
    data = parse_json(text)
    return data if isinstance(data, dict) and data.get("job_id") else None


def _seconds(value: Any) -> float | None:
    if type(value) not in (int, float) or not 0 <= value < _LATEST:
        return None
    return float(value)
