"""Rebuilds a damaged or lost record from reliable evidence: the script that was submitted last,
what the jobs wrote about themselves, and the request with the spec.

Nothing uncertain is recorded: the newest attempt becomes an intent again, so that its job is
searched for in Slurm by name and token before anything else is done, as after a crash.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

from ..base.clock import Clock
from ..base.errors import Damaged, Newer
from ..base.files import parse_json, write_atomic
from ..base.fingerprint import fingerprint
from ..base.presence import read_text
from ..record.contract import GONE, Attempt, Backend, Phase, Record, Request
from ..record.job_report import claims, read_end
from ..record.ledger import Ledger
from ..result.ownership import spec_in
from ..result.verify import newest_step

_SUBMITTED = re.compile(r" MNRUN_ATTEMPT=([0-9]{1,6}) MNRUN_TOKEN=([0-9a-f]{8,64})$", re.MULTILINE)
_REQUEST = "request.json"
_STAMP = "%Y%m%d-%H%M%S"


def keep_request(folder: Path, request: Request) -> None:
    """Store the request beside the record. The folder's name is the fingerprint of the spec, so
    that a modified spec is detected."""
    kept = {"name": request.name, "labels": dict(request.labels), "spec": request.spec}
    write_atomic(folder / _REQUEST, json.dumps(kept, indent=1) + "\n")


class Trace(NamedTuple):
    """What is left of one attempt."""

    number: int
    token: str
    time: float  # when it was submitted, or when its job began


def mend(request: Request, backend: Backend, ledger: Ledger, clock: Clock) -> list[str]:
    """Rebuild every damaged record of the stage; the caller holds the lock. Returns notes for the
    user. Raises Damaged for a record that cannot be rebuilt with certainty."""
    damaged = [(key, damage) for key in ledger.folders() if (damage := ledger.damage(key))]
    stamp = time.strftime(_STAMP, time.localtime(clock.now()))
    notes = []
    for key, damage in damaged:
        if isinstance(damage, Newer):
            raise damage
        record = _rebuilt(request, backend, ledger.folder(key), damage)
        kept = ledger.keep(key, stamp)
        ledger.save(record)
        notes.append(
            "The stage's record was damaged or lost, and was rebuilt from its jobs and their "
            f"scripts. The old one: {kept or 'gone'}."
        )
    return notes


def _rebuilt(request: Request, backend: Backend, folder: Path, damage: Damaged) -> Record:
    kept = _kept(folder)
    spec = kept["spec"] if kept else _spec(request, folder.name)
    if spec is None:
        raise _hopeless(folder, "it belongs to other options than the current ones, and those are "
                        "not known", damage)  # fmt: skip
    traces = _traces(folder)
    if not traces:
        raise _hopeless(folder, "neither a script nor a job's own record is beside it", damage)
    key = fingerprint(spec)
    base = kept["name"] if kept else request.name
    labels = kept["labels"] if kept else {}
    record = Record(request.stage, request.kind, key, spec, labels, trainer=dict(request.trainer))
    step = newest_step(request.checkpoints, record)
    for trace in traces:
        name = backend.attempt_name(base, key, trace.number)
        attempt = Attempt(trace.number, trace.token, name, trace.time)
        newest = trace is traces[-1]
        record.attempts.append(attempt if newest else _over(folder, attempt, step))
    return record


def _over(folder: Path, attempt: Attempt, step: int) -> Attempt:
    """An attempt before the newest one: it is over, as only the newest can be alive. It is credited
    with the newest step, so that lost history does not count against the next attempt."""
    ended = read_end(folder, attempt)
    if ended:
        attempt = attempt.seen(ended)
    else:
        attempt.phase, attempt.state = Phase.GONE, GONE
    attempt.last_step = step
    return attempt


def _kept(folder: Path) -> dict[str, Any] | None:
    """The stored request; None if it is not intact."""
    kept = parse_json(read_text(folder / _REQUEST) or "")
    if not isinstance(kept, dict):
        return None
    kinds = {"name": str, "labels": dict, "spec": dict}
    if not all(isinstance(kept.get(name), kind) for name, kind in kinds.items()):
        return None
    return kept if fingerprint(kept["spec"]).startswith(folder.name) else None


def _spec(request: Request, key: str) -> dict[str, Any] | None:
    """The spec with the fingerprint that begins with `key`."""
    if fingerprint(request.spec).startswith(key):
        return request.spec
    return spec_in(request.checkpoints, key) if request.checkpoints else None


def _traces(folder: Path) -> list[Trace]:
    """One for each attempt that left any, in order. The script is of the newest."""
    found = {number: Trace(number, token, begun) for number, token, begun in claims(folder)}
    script = folder / "script.sh"
    match = _SUBMITTED.search(read_text(script) or "")
    if match:
        number = int(match.group(1))
        if number >= max(found, default=0):
            found[number] = Trace(number, match.group(2), script.stat().st_mtime)
    return [found[number] for number in sorted(found)]


def _hopeless(folder: Path, why: str, damage: Damaged) -> Damaged:
    reason = damage.details.get("reason", "")
    return Damaged(
        f"The record in {folder} is damaged ({reason}) and cannot be rebuilt with certainty "
        f"({why}), so nothing is done for this stage. Check with squeue that no job of it is "
        "alive, move that folder away, and run this again.",
        reason=reason,
    )
