"""Ends a job, and verifies that it has ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..base.clock import Clock, Deadline
from ..base.errors import Unknown
from ..record.contract import Attempt, Backend, Observation, Phase

CANCEL_LIMIT = 120.0  # seconds for the scheduler to remove a cancelled job
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0
BY_US = "stopped by mnrun"


@dataclass(frozen=True)
class StopRule:
    """How to ask a job to end."""

    signal: str = ""  # sent first, to the job's own script; empty: none
    patience: float = 0.0  # seconds for the job to exit after the signal


def stop_job(
    backend: Backend, folder: Path, attempt: Attempt, rule: StopRule, clock: Clock
) -> Observation:
    """Ask, wait, insist, wait; returns how the job ended.

    Raises Unknown if it still exists afterwards, or if that is not known.
    """
    observation = backend.observe(folder, attempt)
    if rule.signal and observation.phase is Phase.RUNNING:
        backend.stop(attempt, rule.signal)
        observation = _until_ended(backend, folder, attempt, Deadline(clock, rule.patience))
    if not observation.phase.ended:
        backend.stop(attempt, "")
        observation = _until_ended(backend, folder, attempt, Deadline(clock, CANCEL_LIMIT))
    if not observation.phase.ended:
        raise Unknown(_still_there(attempt, observation))
    return observation


def _until_ended(
    backend: Backend, folder: Path, attempt: Attempt, deadline: Deadline
) -> Observation:
    pause = _FIRST_PAUSE
    observation = backend.observe(folder, attempt)
    while not observation.phase.ended and not deadline.over():
        deadline.pause(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
        observation = backend.observe(folder, attempt)
    return observation


def _still_there(attempt: Attempt, observation: Observation) -> str:
    if not observation.known:
        return (
            f"Job {attempt.job_id} was cancelled, but it is unknown whether it ended: "
            f"{observation.detail}. Run this again when the scheduler responds."
        )
    where = f" on {observation.nodes}" if observation.nodes else ""
    return (
        f"Job {attempt.job_id} was cancelled {CANCEL_LIMIT:.0f} s ago and is still "
        f"{observation.state}{where}. A process there does not end (a hanging file system or "
        "driver); your administrators can free the node."
    )
