"""What a person who watches a stage asks about time and cost, from files alone: what a step takes,
how long its Slurm job may still run, when it was saved last, how many GPU-hours it took."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Sequence

from ..base.clock import Clock
from ..base.files import changed_at
from ..record.contract import Attempt, CheckpointRule, Observation, Phase, Record
from ..record.inside import slurm_job
from ..record.ledger import Ledger
from ..record.step_times import StepTimes, read_step_times
from ..trainer.checkpoint import steps, tracked
from ..trainer.words import words
from .budget import spent
from .save_interval import seconds_a_step

_CLUSTER = "ray"  # the stage whose job a Ray job runs in


def timing(
    ledger: Ledger, record: Record, attempt: Attempt, step: int | None, clock: Clock
) -> dict[str, Any]:
    """Returns `now` (epoch seconds); of the Slurm job that the attempt runs in its id (`job`),
    `gpus`, `nodes`, `since` (its start) and `limit` (in seconds); `step_seconds`; and the
    `gpu_hours` of all attempts until now. None for what is not known."""
    now = clock.now()
    job = _slurm_job(ledger, attempt, clock)
    held = [replace(one, gpus=one.gpus or job.gpus) for one in _with(record, attempt)]
    return {
        "now": now,
        "job": slurm_job(job.job_id) or None,
        "gpus": job.gpus or None,
        "nodes": job.nodes,
        "since": job.start,
        "limit": job.time_limit,
        "step_seconds": _step_seconds(ledger, record, attempt, step, now),
        "gpu_hours": spent([replace(record, attempts=held)], now).used if job.gpus else None,
    }


def expected_start(seen: Observation | None, now: float) -> float | None:
    """When a job in the queue starts by the scheduler's estimate, in epoch seconds; None without
    one, or for one that has passed."""
    start = seen.expected if seen and seen.phase is Phase.QUEUED else None
    return start if start and start > now else None


def saved_at(path: Path, parts: Sequence[str], record: Record) -> float | None:
    """When the newest checkpoint was written, in epoch seconds; None if that is not known."""
    rule = CheckpointRule(path, list(parts), hf=False, trainer=record.trainer)
    form = words(record.trainer)
    try:
        step = tracked(rule) or max(steps(rule), default=None)
    except OSError:
        return None
    if step is None:
        return None
    names = [form.tracker, form.step_folder(step)]
    files = [root / name for root in form.roots(path, rule.parts) for name in names if name]
    return max(map(changed_at, files)) / 1e9 or None


def _with(record: Record, attempt: Attempt) -> list[Attempt]:
    """All attempts, the newest one as it was seen now."""
    return [*(one for one in record.attempts if one.number != attempt.number), attempt]


def _slurm_job(ledger: Ledger, attempt: Attempt, clock: Clock) -> Attempt:
    """The attempt itself, or that of the Ray cluster which it runs in."""
    if not attempt.head_job:
        return attempt
    clusters, _damaged = Ledger(ledger.run_dir, _CLUSTER, clock).readable()
    jobs = (one for record in clusters for one in record.attempts)
    return next((one for one in jobs if one.job_id == attempt.head_job), attempt)


def _step_seconds(
    ledger: Ledger, record: Record, attempt: Attempt, step: int | None, now: float
) -> float | None:
    """What a step takes: by the job's own record, or else with the start of an attempt."""
    seen = _by_itself(ledger.folder(record.fingerprint), attempt)
    if seen and seen.each:
        return seen.each
    made = (step or 0) - attempt.first_step
    if seen is None and attempt.phase is Phase.RUNNING and attempt.start and made > 0:
        # Between two steps that would grow.
        written = max(map(changed_at, attempt.log_paths), default=0) / 1e9
        until = written if attempt.start < written <= now else now
        return max(0.0, until - attempt.start) / made
    known = [one for one in map(seconds_a_step, _with(record, attempt)) if one]
    return known[-1] if known else None


def _by_itself(folder: Path, attempt: Attempt) -> StepTimes | None:
    try:
        return read_step_times(folder, attempt)
    except OSError:
        return None
