"""Whether a job would be visible to this process if it were alive.

That a scheduler does not know a job proves something only to the user who submitted it, on the
Slurm to which it was submitted, and only while the job itself does not show that it works.
"""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from pathlib import Path
from typing import Callable, NamedTuple

from ..base.presence import seen
from .contract import Attempt, Found, Observation, Phase
from .job_report import end_path, start_path, started_on

FRESH = 300.0  # seconds after a line in its log in which a job may be alive


class Doubt(NamedTuple):
    """Why a job may be alive although nothing is seen of it, and what to do about that."""

    detail: str
    advice: str = ""

    @property
    def observation(self) -> Observation:
        """The doubt as an answer about the job."""
        return Observation(Phase.UNKNOWN, detail=self.detail, advice=self.advice)

    @property
    def found(self) -> Found:
        """The doubt as an answer to whether there is a job."""
        return Found(False, None, self.detail, self.advice)


SlurmName = Callable[[], str]  # ClusterName of this host's Slurm; empty: not known


def other_slurm(folder: Path, attempt: Attempt, here: SlurmName) -> Doubt | None:
    """A doubt about an attempt that belongs to another Slurm than this host's: its job's id means
    nothing here."""
    if attempt.slurm_cluster:
        return None  # it is asked about by the cluster's name
    there = attempt.submitted_on or started_on(folder, attempt)
    name = here() if there else ""
    if not name or there == name:
        return None
    return Doubt(
        f"it was submitted to the Slurm cluster {there}, and this host uses {name}",
        f"run this on a host of {there}; if that no longer exists, {forget(folder)}",
    )


def unseen(folder: Path, attempt: Attempt, here: SlurmName) -> Doubt | None:
    """A doubt about an attempt that this user or this host's Slurm might not see."""
    submitter = _submitter(folder, attempt)
    if submitter not in (None, os.geteuid()):
        who = _user(submitter)
        return Doubt(
            f"{who} submitted it, and Slurm may hide it from {_user(os.geteuid())}",
            f"let {who} run this; if that user is gone and no job is alive, {forget(folder)}",
        )
    if attempt.submitted_on and not attempt.slurm_cluster and not here():
        return Doubt(
            f"it was submitted to the Slurm cluster {attempt.submitted_on}, and `scontrol show "
            "config` does not say whether that is this one"
        )
    return other_slurm(folder, attempt, here)


def still_writing(folder: Path, attempt: Attempt, now: float) -> Doubt | None:
    """A doubt about a job that recorded its start and no end, and whose log has just grown, or
    cannot be seen. `now`: seconds since the epoch."""
    try:
        return _still_writing(folder, attempt, now)
    except OSError as error:
        why = f"the scheduler does not know it, but {error.filename}: {error.strerror}"
        return Doubt(why, "run this again when the file system responds")


def _still_writing(folder: Path, attempt: Attempt, now: float) -> Doubt | None:
    started = seen(start_path(folder, attempt.number).stat)
    ended = seen(end_path(folder, attempt.number).stat)
    if started is None or ended is not None:
        return None
    for path in attempt.log_paths:
        log = seen(path.stat)
        age = now - log.st_mtime if log else FRESH
        if abs(age) < FRESH:
            words = f"its log {path} was written {max(age, 0):.0f} s ago"
            wait = f"run this again in {FRESH / 60:.0f} min"
            return Doubt(f"the scheduler does not know it, but {words}", wait)
    return None


def _submitter(folder: Path, attempt: Attempt) -> int | None:
    """The uid; of attempts of earlier versions, that of their script's owner."""
    if attempt.submitted_by is not None:
        return attempt.submitted_by
    with suppress(OSError):
        return (folder / "script.sh").stat().st_uid
    return None


def forget(folder: Path) -> str:
    """How a user makes mnrun forget an attempt that is certainly over."""
    own = f"move {folder} and {folder.parent / 'intents'} away"
    if folder.parent.name.partition("-")[0] != "relay":
        return own
    # Else the next relay waits for the end of one of which nothing is known.
    return f"{own}, and {folder.parent.with_name('relay') / 'holders'} as well"


def _user(uid: int | None) -> str:
    with suppress(KeyError):
        return f"the user {pwd.getpwuid(uid or 0).pw_name}"
    return f"the user with uid {uid}"
