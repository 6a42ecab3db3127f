"""Everything that a report shows of a run, bounded: no log is sent, and no curve has more points
than can be drawn."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Mapping, Sequence

from ..base.clock import Clock
from ..base.presence import names, read_text
from ..base.text import printable
from ..record import gpu_use
from ..record.contract import Attempt, Backend, Phase, Record
from ..record.ledger import Ledger
from ..record.run_options import path_of
from ..record.step_times import read_step_times
from ..slurm.client import SlurmClient
from ..slurm.nodelist import names_in
from ..stage.conclude import explained
from ..trainer import tracker_files
from ..trainer.answers import Answer
from ..trainer.curves import Attempted, curves, joined, with_every_metric
from ..trainer.history import History, history, needed_of
from ..trainer.tracker_files import Logged, packages
from ..trainer.words import words
from .backends import slurm_or_ray
from .training_runs import TrainingRun, described

_ATTEMPTS = 50  # of a stage; of more, the last ones
_ANSWERS = 8
_SAVES = 200
_BINS = 120  # of the use of GPUs
_TEXT = 4000  # characters of a text
_KEPT = 1 << 16  # characters of a run's options, of which no value may be cut
_EARLY = 5.0  # seconds that the clocks of nodes may differ


def reported(run: TrainingRun, client: SlurmClient, clock: Clock, points: int) -> dict[str, Any]:
    """A run with the curves, times and causes of all attempts of its stages. `points`: of each
    curve, at most. Raises OSError."""
    found = described(run, client, clock)
    backend_of = slurm_or_ray(run.path, client)
    for entry in found["stages"]:
        record = Ledger(run.path, entry["stage"], clock).load(entry["fingerprint"])
        if record is not None:
            entry.update(_stage(run.path, record, entry, backend_of(record), points))
    kept = read_text(path_of(run.path)) or ""
    kept = kept if len(kept) <= _KEPT else kept[:_KEPT].rpartition("\n")[0]
    return {**found, "kept_options": kept, "packages": _packages(run.path), "time": clock.now()}


def _stage(
    run_dir: Path, record: Record, entry: Mapping[str, Any], backend: Backend, points: int
) -> dict[str, Any]:
    folder = Path(entry["record"])
    attempts = [_as_seen(one, entry) for one in record.attempts][-_ATTEMPTS:]
    tracked = _tracked(run_dir / record.stage, record) if _trains(record) else []
    parts = _shared_out(attempts, tracked)
    read = [_history(one, record, part) for one, part in zip(attempts, parts)]
    steps, resumes = joined(
        [Attempted(one.number, each.steps) for one, each in zip(attempts, read)]
    )
    answers = [answer for each in read for answer in each.answers]
    return {
        "curves": curves(steps, points),
        "resumes": [one._asdict() for one in resumes],
        "answers": [one._asdict() for one in _some(answers)],
        "attempts": [
            _attempt(record, one, each, folder, backend) for one, each in zip(attempts, read)
        ],
        "attempts_before": len(record.attempts) - len(attempts),
    }


def _trains(record: Record) -> bool:
    return bool(record.trainer)


def _as_seen(attempt: Attempt, entry: Mapping[str, Any]) -> Attempt:
    """An attempt with what the scheduler reports just now, if it is the newest."""
    job = entry["job"] or {}
    if attempt.number != entry["attempt"]:
        return attempt
    seen = {name: job[name] for name in ("state", "reason", "start", "end", "nodes")}
    return replace(attempt, phase=Phase(job["phase"]), **seen)


def _history(attempt: Attempt, record: Record, tracked: Sequence[Logged]) -> History:
    if not _trains(record):
        return History([], None, [])
    log = Path(attempt.stdout or attempt.stderr) if attempt.log_paths else None
    trainer = with_every_metric(record.trainer)
    return history(log, trainer, tracked, _ANSWERS)


def _tracked(folder: Path, record: Record) -> list[Logged]:
    """What trackers have of a stage, in order, as far as a history needs it."""
    form = words(with_every_metric(record.trainer))
    needed = needed_of(form)
    files = tracker_files.found(folder, lambda name: form.step_of(name) is not None)
    return sorted(
        (needed(one) for path in files for one in tracker_files.logged(path)),
        key=lambda one: one.time,
    )


def _shared_out(attempts: Sequence[Attempt], tracked: Sequence[Logged]) -> list[list[Logged]]:
    """What was logged of each attempt: from its start to that of the next one."""
    starts = [math.inf if one.start is None else one.start - _EARLY for one in attempts]
    return [
        [one for one in tracked if start <= one.time < min([math.inf, *starts[at + 1 :]])]
        for at, start in enumerate(starts)
    ]


def _some(answers: Sequence[Answer]) -> list[Answer]:
    """The first one, and the last ones."""
    return list(answers) if len(answers) <= _ANSWERS else [answers[0], *answers[1 - _ANSWERS :]]


def _attempt(
    record: Record, attempt: Attempt, read: History, folder: Path, backend: Backend
) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "job": attempt.job_id,
        "head_job": attempt.head_job,
        "phase": attempt.phase.value,
        "state": attempt.state,
        "submitted": attempt.intent_time,
        "start": attempt.start,
        "end": attempt.end,
        "nodes": len(names_in(attempt.nodes)),
        "gpus": attempt.gpus,
        "first_step": attempt.first_step,
        "last_step": _last_step(record, attempt, read),
        "steps_logged": len({one.number for one in read.steps}),
        "times": _times(read, attempt, folder),
        "use": _use(gpu_use.read(folder, attempt)),
        **_why(record, attempt, folder, backend),
    }


def _last_step(record: Record, attempt: Attempt, read: History) -> int | None:
    """The last step that was trained; None of what trains nothing, such as a conversion."""
    if not _trains(record):
        return None
    return read.steps[-1].number if read.steps else attempt.reached


def _times(read: History, attempt: Attempt, folder: Path) -> dict[str, Any] | None:
    """When steps were made, by a tracker, and else by what watched the training in its job."""
    if read.times:
        return {**read.times._asdict(), "saves": read.times.saves[:_SAVES]}
    seen = read_step_times(folder, attempt)
    return seen and {**seen._asdict(), "saves": []}


def _why(record: Record, attempt: Attempt, folder: Path, backend: Backend) -> dict[str, Any]:
    """Why an attempt ended without a result; empty if it did not."""
    if attempt.phase not in (Phase.FAILED, Phase.CANCELLED, Phase.GONE):
        return {"cause": None, "problem": ""}
    outcome = explained(backend, folder, record, attempt)
    problem = "\n".join(map(printable, outcome.problem.split("\n")))
    found = outcome.cause
    cause = found and {"code": found.code, "title": found.title, "advice": outcome.advice}
    return {"cause": cause, "problem": problem[:_TEXT]}


def _use(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The use of an attempt's GPUs, with the mean of all nodes over time."""
    if found is None:
        return None
    lines = [node["busy_percents"] for node in found["nodes"].values()]
    longest = max(map(len, lines), default=0)
    each = max(1, -(-longest // _BINS))
    line = [
        _mean([value for one in lines for value in one[at : at + each]])
        for at in range(0, longest, each)
    ]
    width = next((node["seconds_a_bin"] for node in found["nodes"].values()), 1)
    figures = {name: value for name, value in found.items() if name != "nodes"}
    return {**figures, "busy_percents": line, "seconds_a_bin": width * each}


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 1) if values else 0.0


def _packages(run_dir: Path) -> dict[str, str]:
    """Versions of packages that W&B listed beside its newest run."""
    for stage in ("ppo", "sft"):
        folder = run_dir / stage / "wandb"
        runs = [name for name in names(folder) if "-run-" in name]
        for name in sorted(runs, reverse=True):
            text = read_text(folder / name / "files" / "requirements.txt") or ""
            found = packages(text)
            if found:
                return found
    return {}
