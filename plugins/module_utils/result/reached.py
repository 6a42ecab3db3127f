"""How far a stage has come: by its result if it is done, else by the logs of all its attempts."""

from __future__ import annotations

from typing import Any, Iterable, Mapping

from ..record.contract import Attempt, Phase, Record
from ..trainer.progress import Progress, last_step_option, read_progress


def reached(record: Record | None, attempt: Attempt) -> Progress:
    """The progress of a stage with `attempt` as its newest one.

    An attempt that resumed and has not made a step yet is where the earlier ones left off.
    """
    output = record.output if record else None
    done = attempt.settled and output and (attempt.last_step or 0) >= (output.get("step") or 1)
    if output and output.get("step") and (done or attempt.phase is Phase.SUCCEEDED):
        return Progress(output["step"], output["step"], dict(output["metrics"]), total_stated=True)
    trainer = record.trainer if record else {}
    found = [progress_of(one, trainer) for one in _up_to(record, attempt)]
    now = found[-1]
    if now.doing:
        return now
    step = attempt.reached if now.step is None and attempt.settled else now.step
    return now._replace(
        step=step or attempt.first_step or None,
        total=_total(record, now),
        metrics=_merged(found),
    )


def metrics(record: Record) -> dict[str, float]:
    """The last values, and the first ones of the first attempt that had any."""
    return _merged(progress_of(attempt, record.trainer) for attempt in record.attempts)


def _merged(found: Iterable[Progress]) -> dict[str, float]:
    merged: dict[str, float] = {}
    for progress in found:
        begun = {name: value for name, value in merged.items() if name.startswith("first_")}
        merged = {**merged, **progress.metrics, **begun}
    return merged


def progress_of(attempt: Attempt, trainer: Mapping[str, Any]) -> Progress:
    """What an attempt's logs show; nothing if they cannot be read now. Once it is over that is in
    its record: logs are long, and a run may have many."""
    if attempt.settled and attempt.shown is not None:
        known = {name: attempt.shown[name] for name in Progress._fields if name in attempt.shown}
        return Progress(**known)
    try:
        return read_progress(attempt.log_paths, trainer)
    except OSError:
        return Progress()


def _up_to(record: Record | None, attempt: Attempt) -> list[Attempt]:
    earlier = [one for one in record.attempts if one.number < attempt.number] if record else []
    return [*earlier, attempt]


def _total(record: Record | None, now: Progress) -> int | None:
    """The last step that there will be: SFT only announces the total of its epochs."""
    options: Any = record.spec.get("options") if record else None
    trainer = record.trainer if record else {}
    limit = last_step_option(options, trainer) if isinstance(options, dict) else None
    known = [step for step in (now.total, limit) if step]
    return now.total if now.total_stated else min(known, default=None)
