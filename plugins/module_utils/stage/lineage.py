"""Which results depend on which: a spec contains the fingerprints of the stages whose results it
uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator, NamedTuple

from ..base.clock import Clock
from ..base.errors import Refused
from ..record.contract import Attempt, Phase, Record
from ..record.job_report import read_end
from ..record.ledger import Ledger, stages
from ..result.ownership import owner_of
from .context import Stage


def require_free(stage: Stage, key: str) -> None:
    """Raise Refused if checkpoints would be set aside that a stage depends on which is alive, not
    finished, or still to be converted. `key`: the fingerprint of the new ones."""
    request = stage.request
    owner = owner_of(request.checkpoints.path) if request.checkpoints else ""
    if not owner or owner == key or not request.checkpoints:
        return
    records = list(_records(request.run_dir, stage.clock))
    for ledger, record in records:
        need = _need(ledger, record, owner, [other for _ledger, other in records])
        if need and (need.live or not request.replace):
            role = request.stage.partition("-")[0]
            anyway = "" if need.live else f", set that aside with -e {role}_replace=true"
            raise Refused(
                f"The stage {record.stage} {need.why}, and it depends on the result of "
                f"{request.stage} with other options in {request.checkpoints.path}, which these "
                "options would set aside. Nothing was changed. Let it finish (mnrun all with the "
                f"options as they were), stop it (mnrun cancel {record.stage}){anyway}, or train "
                "these options in a run of their own (--run NAME)."
            )


def origins(record: Record, records: list[Record]) -> list[dict[str, str]]:
    """The records that a record depends on: stage, fingerprint, and the job of each result."""
    named = set(_texts(record.spec))
    return [
        {"stage": one.stage, "fingerprint": one.fingerprint, "job": _worker(one)}
        for one in records
        if one.fingerprint in named
    ]


def _records(run_dir: Path, clock: Clock) -> Iterator[tuple[Ledger, Record]]:
    for name in stages(run_dir):
        ledger = Ledger(run_dir, name, clock)
        for record in ledger.records():
            yield ledger, record


class Need(NamedTuple):
    """Why the result of another stage must stay where it is."""

    why: str
    live: bool = False


def _need(ledger: Ledger, record: Record, key: str, records: list[Record]) -> Need | None:
    """Why a record needs the result with the fingerprint `key`, if it does."""
    last = record.last
    if last is None or key not in _texts(record.spec):
        return None
    title = f"job {last.job_id}" if last.job_id else f"the job {last.name}"
    if not last.settled and read_end(ledger.folder(record.fingerprint), last) is None:
        return Need(f"is working, or may be ({title}, {last.state})", live=True)
    if last is not _newest([one for one in records if one.stage == record.stage]):
        return None  # it was given up for other options
    if record.output is None and last.phase is not Phase.SUCCEEDED:
        made = any(max(one.last_step or 0, one.reached or 0) for one in record.attempts)
        return Need(f"has not finished ({title}, {last.state})") if made else None
    trains = bool((record.output or {}).get("step")) and not record.stage.startswith("convert")
    if trains and not _is_used(record, records):
        return Need(f"has not been converted yet ({title})")
    return None


def _newest(records: list[Record]) -> Attempt | None:
    attempts = [record.last for record in records if record.last]
    return max(attempts, key=lambda attempt: attempt.intent_time, default=None)


def _is_used(record: Record, records: list[Record]) -> bool:
    """True if something that stands on a result has been made of it."""
    return any(one.output and record.fingerprint in _texts(one.spec) for one in records)


def _worker(record: Record) -> str:
    """The job that produced a record's result, or that works on it."""
    attempts: list[Attempt] = [one for one in record.attempts if one.job_id]
    return attempts[-1].job_id if attempts else ""


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value
