"""Results as modules return them, and as lines of text."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ..base.fingerprint import fingerprint
from ..base.text import duration, moment
from ..record import gpu_use
from ..record.contract import Attempt, Phase, Record, Request
from ..record.services import read_services
from ..result.reached import reached
from ..trainer.metrics import shown, steps_of
from ..trainer.progress import Progress
from .outcome import Outcome


def result(outcome: Outcome, request: Request) -> dict[str, Any]:
    """The result of `slurm_job` and `ray_job`."""
    attempt, record = outcome.attempt, outcome.record
    answer: dict[str, Any] = {
        "changed": outcome.action.changes,
        "action": outcome.action.value,
        "msg": outcome.problem or " ".join([*_submitted(outcome), outcome.why, *outcome.notes]),
        "notes": outcome.notes,
        "stage": request.stage,
        "output": outcome.output,
        "faults": outcome.faults,
        "diff": outcome.diff,
        **described(record, attempt, outcome.folder),
        "fingerprint": record.fingerprint if record else fingerprint(request.spec),
    }
    if outcome.plan is not None:
        answer["plan"] = outcome.plan
    if outcome.telling:
        answer["log_tail"] = outcome.telling.lines
        answer["log_path"] = str(outcome.telling.path)
    if outcome.cause:
        cause = outcome.cause
        answer["cause"] = {"code": cause.code, "title": cause.title, "advice": outcome.advice}
        answer["retryable"] = outcome.retryable
    return answer


def _submitted(outcome: Outcome) -> list[str]:
    attempt = outcome.attempt
    if attempt is None or not outcome.action.submits:
        return []
    return [f"Submitted job {attempt.job_id} (attempt {attempt.number})."]


def described(
    record: Record | None, attempt: Attempt | None, folder: Path | None
) -> dict[str, Any]:
    """The fields that every answer about an attempt has."""
    progress = reached(record, attempt) if attempt else Progress()
    return {
        "fingerprint": record.fingerprint if record else None,
        "labels": record.labels if record else {},
        "record": str(folder) if folder else None,
        "attempt": attempt.number if attempt else None,
        "job": _job(attempt) if attempt else None,
        "progress": progress.as_dict(),
        "gpus": gpu_use.read(folder, attempt) if attempt and folder else None,
        "services": [one._asdict() for one in read_services(folder, attempt)]
        if attempt and folder
        else [],
    }


def _job(attempt: Attempt) -> dict[str, Any]:
    return {
        "id": attempt.job_id,
        "name": attempt.name,
        "phase": attempt.phase.value,
        "state": attempt.state,
        "reason": attempt.reason,
        "exit_code": attempt.exit_code,
        "start": attempt.start,
        "end": attempt.end,
        "nodes": attempt.nodes,
        "stdout": attempt.stdout,
        "stderr": attempt.stderr,
    }


def state_digest(attempt: Attempt, known: bool) -> str:
    """Changes whenever the state of an attempt, or what is known about it, does."""
    facts = [attempt.number, known, attempt.job_id, attempt.phase.value, attempt.state]
    facts += [attempt.reason, attempt.end]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def line(entry: dict[str, Any]) -> str:
    """One stage from a `*_info` module as one line of text, without the stage's name."""
    job, progress = entry.get("job") or {}, entry.get("progress") or {}
    parts = [_state(entry, job)]
    if progress.get("doing"):
        parts.append(f"{progress['doing']} ({progress['step']}/{progress['total']})")
    elif progress.get("step") is not None:
        parts += [f"step {steps}" for steps in steps_of(progress)]
    parts += shown(progress.get("metrics") or {})
    if entry.get("gpus"):
        parts.append(entry["gpus"]["text"])
    if entry.get("seconds") is not None:
        parts.append(duration(entry["seconds"]))
    parts += [f"from {one['stage']} (job {one['job']})" for one in entry.get("from") or []]
    if entry.get("last_line"):
        parts.append(entry["last_line"])
    return " · ".join(parts)


def _state(entry: dict[str, Any], job: dict[str, Any]) -> str:
    text = f"job {job.get('id') or job.get('name')} {job.get('state')}"
    if not entry.get("known", True):
        return f"{text} when last known ({entry.get('detail')})"
    if job.get("reason") and job.get("phase") != Phase.RUNNING.value:
        text += f" ({job['reason']})"
    if job.get("phase") == Phase.QUEUED.value:
        text += "".join(f": {why}" for why in [entry.get("why")] if why) + _expected(entry)
    return f"{text} on {job['nodes']}" if job.get("nodes") else text


def _expected(entry: dict[str, Any]) -> str:
    """When Slurm expects to start the job."""
    start = (entry.get("timing") or {}).get("expected")
    return f", expected to start {moment(start, entry['timing']['now'])}" if start else ""
