"""What people are notified of: an event, from the result of a stage. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..base.text import duration, printable_lines
from ..record.contract import Phase
from ..trainer.metrics import compared

_LONGEST = 1500  # characters: what every service takes
_OWN = ("stalled", "diverged")
"""Causes that are events of their own."""
_APART = ("waiting", "run_done", "run_failed")
_AGAIN = "It is tried again automatically."


class Event(NamedTuple):
    """What happened. Programs get it by these names."""

    event: str  # stage_done, stage_failed, stalled, diverged, waiting, run_done or run_failed
    run: str
    run_dir: str
    stage: str  # empty for the whole run
    attempt: int  # 0 for the whole run
    job: str
    cause: str  # the cause's code
    retried: bool  # another attempt follows
    title: str
    text: str

    @property
    def bad(self) -> bool:
        """It is about a failure."""
        return self.event not in ("stage_done", "run_done")


def mark(event: Event, number: int) -> str:
    """What is sent once, of attempt `number`: that has one end, whatever is known of it."""
    return f"{number}-{event.event if event.event in _APART else 'end'}"


def of_stage(result: dict[str, Any], run: str, run_dir: str) -> Event | None:
    """The event of a stage's result; None if its job has not ended."""
    job, cause = result.get("job") or {}, result.get("cause") or {}
    stage, failed = str(result.get("stage")), bool(result.get("failed"))
    if failed and cause:
        kind = cause["code"] if cause["code"] in _OWN else "stage_failed"
        again = bool(result.get("retryable"))
        text = str(result.get("msg") or "") if not again else f"{result.get('msg')}\n{_AGAIN}"
        title = f"{stage} failed: {cause['title']}"
        event = _event(kind, run, run_dir, result, title, text)
        return event._replace(cause=cause["code"], retried=again)
    if failed or not (result.get("output") or job.get("phase") == Phase.SUCCEEDED.value):
        return None
    return _event("stage_done", run, run_dir, result, f"{stage} is done", _came_to(result))


def of_waiting(result: dict[str, Any], run: str, run_dir: str) -> Event | None:
    """The event of a job that waits; None if it does not wait any more."""
    job = result.get("job") or {}
    if job.get("phase") != Phase.QUEUED.value:
        return None
    title = f"{result.get('stage')} has been waiting for {duration(float(result['seconds']))}"
    reason = f" ({job['reason']})" if job.get("reason") else ""
    text = f"Job {job.get('id')} is still in the queue{reason}."
    return _event("waiting", run, run_dir, result, title, text)


def of_run(kind: str, run: str, run_dir: str, text: str) -> Event:
    """The event of a whole run, `run_done` or `run_failed`."""
    title = "the run is done" if kind == "run_done" else "the run has stopped"
    return _event(kind, run, run_dir, {}, title, text)


def _event(
    kind: str, run: str, run_dir: str, result: dict[str, Any], title: str, text: str
) -> Event:
    name = run or run_dir.rstrip("/").rpartition("/")[2]
    return Event(
        kind,
        name,
        run_dir,
        str(result.get("stage") or ""),
        int(result.get("attempt") or 0),
        str((result.get("job") or {}).get("id") or ""),
        "",
        False,
        f"mnrun {name}: {title}",
        printable_lines(text)[:_LONGEST],
    )


def _came_to(result: dict[str, Any]) -> str:
    output = result.get("output") or {}
    metrics = output.get("metrics") or (result.get("progress") or {}).get("metrics") or {}
    parts = [f"Job {(result.get('job') or {}).get('id')}"]
    parts += [f"{output['step']} steps"] if output.get("step") else []
    where = output.get("model") or output.get("path")
    return "\n".join([", ".join([*parts, *compared(metrics)]), *([str(where)] if where else [])])
