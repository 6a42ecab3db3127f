"""What a job writes about itself: start-<n>.json and end-<n>.json in its record's folder.

The shell code that writes them is in recorder.py. They remain available when the scheduler has
forgotten the job and the site has no accounting.
"""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any, NamedTuple

from ..base.exclusive import create, read
from ..base.files import make_directory, parse_json
from ..base.presence import names
from .contract import Attempt, JobRef, Observation, Phase, is_job_id

_START = re.compile(r"start-([0-9]{1,6})\.json(\.d)?")
_CLUSTER = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HIGHEST = 1 << 32  # of any program's exit codes; a launcher may report -1
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


def has_started(folder: Path, attempt: Attempt) -> bool:
    """True if a job recorded that it started on the attempt, or how it ended."""
    return claim_of(folder, attempt) is not None or read_end(folder, attempt) is not None


def started_on(folder: Path, attempt: Attempt) -> str:
    """ClusterName of the Slurm on which an attempt's job started; empty if it is not recorded."""
    data = _read(start_path(folder, attempt.number)) or {}
    name = data.get("cluster")
    own = data.get("token") == attempt.token and isinstance(name, str)
    return str(name) if own and _CLUSTER.fullmatch(str(name)) else ""


def claims(folder: Path) -> list[tuple[int, str, float]]:
    """Number, token and time of each attempt that a job claimed, or that was abandoned."""
    matches = [match for name in names(folder) if (match := _START.fullmatch(name))]
    found = []
    for number in sorted({int(match.group(1)) for match in matches}):
        data = _read(start_path(folder, number))
        if data and isinstance(data.get("token"), str):
            found.append((number, data["token"], _seconds(data.get("start")) or 0.0))
    return found


class Claim(NamedTuple):
    """Whose job works on an attempt."""

    token: str
    job_id: str


def claim_of(folder: Path, attempt: Attempt) -> Claim | None:
    """The claim on an attempt; None if no job has started on it."""
    data = _read(start_path(folder, attempt.number))
    if data is None or data["job_id"] == _NOBODY or not isinstance(data.get("token"), str):
        return None
    return Claim(data["token"], data["job_id"])


def claimed_by_another(folder: Path, attempt: Attempt) -> bool:
    """True if another job than the known one does the attempt's work, as every other job of it
    ends: a request may reach the scheduler twice, and where a lock does not exclude, two
    controllers may submit the same attempt, each with a token of its own."""
    claim = claim_of(folder, attempt)
    return claim is not None and claim != (attempt.token, attempt.job_id)


def give_up(folder: Path, attempt: Attempt, now: float) -> bool:
    """Claim an attempt for no job: a job of it that appears later finds the claim and ends.

    False: a job has started on it after all. Only one can create the file, here as in the job.
    """
    claim = start_path(folder, attempt.number)
    text = {"job_id": _NOBODY, "token": attempt.token, "host": socket.gethostname(), "start": now}
    make_directory(folder)  # of an intent whose controller died before it wrote anything else
    create(claim, json.dumps(text) + "\n")
    return given_up(folder, attempt)


def given_up(folder: Path, attempt: Attempt) -> bool:
    """True if no job can start on this attempt any more."""
    data = _read(start_path(folder, attempt.number))
    return data is not None and data["job_id"] == _NOBODY


def read_end(folder: Path, attempt: Attempt) -> Observation | None:
    """How the job of an attempt ended, according to itself. None if it recorded nothing."""
    data = _read(end_path(folder, attempt.number))
    if data is None or data.get("token") != attempt.token:
        return None
    if attempt.job_id and str(data["job_id"]) != attempt.job_id:
        return None
    code = data.get("exit_code")
    if type(code) is not int or abs(code) > _HIGHEST:
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
    """A record that is not intact counts for nothing: then the scheduler decides."""
    text = read(path)
    data = parse_json(text) if text else None
    if not isinstance(data, dict) or not isinstance(data.get("job_id"), str):
        return None
    return data if is_job_id(data["job_id"]) else None


def _seconds(value: Any) -> float | None:
    if type(value) not in (int, float) or not 0 <= value < _LATEST:
        return None
    return float(value)
