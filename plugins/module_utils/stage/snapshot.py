"""The current state: records, live jobs, results. Collected afresh for every decision."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..base.fingerprint import fingerprint
from ..record.contract import Attempt, Backend, Found, Observation, Phase, Record, Request
from ..record.job_report import claim_of, claimed_by_another, given_up
from ..record.ledger import Ledger
from ..result.verify import Output, finished, newest_step, settle


@dataclass(frozen=True)
class Look:
    """The current state of an attempt whose end is not in the ledger."""

    record: Record
    attempt: Attempt
    observation: Observation
    adopted: bool = False  # only now found, by its name and token
    absent: bool = False  # an intent, and certainly without a job (yet)


@dataclass(frozen=True)
class Facts:
    """All that a decision depends on."""

    now: float  # epoch seconds
    key: str  # the fingerprint of the request's spec
    serial: int  # of the stage's newest intent
    quiet_window: float  # seconds in which the job of an intent may still turn up
    waited: float = 0.0  # seconds for which this call has been looking
    record: Record | None = None
    mine: Look | None = None
    others: list[Look] = field(default_factory=list)  # of other specs of the stage
    earlier: Record | None = None  # of the options that the stage was last tried with
    output: Output | None = None  # of an attempt that succeeded, or whose result is complete
    newest: int | None = None  # from where another attempt resumes, if the result is damaged
    touched: list[Record] = field(default_factory=list)  # had an open attempt in the ledger


def gather(
    request: Request, backend: Backend, ledger: Ledger, now: float, waited: float = 0.0
) -> Facts:
    """Look at everything. The returned records contain the current state of open attempts; the
    holder of the lock saves those that are `touched`."""
    key = fingerprint(request.spec)
    serial = ledger.newest_intent().number  # before all that is looked at
    records = ledger.records()
    touched = [record for record in records if record.open_attempt]
    looks = [look for record in touched for look in _look(request, backend, ledger, record)]
    record = next((record for record in records if record.fingerprint == key), None)
    output = _output(request, record)
    return Facts(
        now=now,
        key=key,
        serial=serial,
        quiet_window=backend.quiet_window,
        waited=waited,
        record=record,
        mine=next((look for look in looks if look.record is record), None),
        others=[look for look in looks if look.record is not record],
        earlier=_newest([one for one in records if one is not record]),
        output=output,
        newest=_newest_step(request, record, output),
        touched=touched,
    )


def _newest(records: list[Record]) -> Record | None:
    tried = [record for record in records if record.last]
    return max(tried, key=lambda record: record.attempts[-1].intent_time, default=None)


def _look(request: Request, backend: Backend, ledger: Ledger, record: Record) -> list[Look]:
    """None or one: the open attempt of a record, unless it turns out to have ended."""
    attempt = record.open_attempt
    if attempt is None:
        return []
    look = look_at(backend, ledger, record, attempt)
    if not look.observation.phase.ended:
        return [look]
    settle(record, look.observation, request.rule)
    return []


def look_at(backend: Backend, ledger: Ledger, record: Record, attempt: Attempt) -> Look:
    """Ask the scheduler about one attempt; the job of an intent is searched by name and token."""
    folder = ledger.folder(record.fingerprint)
    claim = claim_of(folder, attempt)
    adopted = not attempt.job_id or claimed_by_another(folder, attempt)
    if adopted:
        attempt.token = claim.token if claim else attempt.token
        gone = given_up(folder, attempt)
        found = Found(True) if gone else backend.find(folder, attempt)
        if found.job is None:
            unknown = Observation(Phase.UNKNOWN, detail=found.detail, advice=found.advice)
            return Look(record, attempt, unknown, absent=found.sure)
        attempt.job = found.job
    observation = backend.observe(folder, attempt)
    record.attempts[-1] = attempt.seen(observation)
    return Look(record, record.attempts[-1], observation, adopted=adopted)


def _newest_step(request: Request, record: Record | None, output: Output | None) -> int | None:
    """Of a result that is damaged: the step that the record names may be the one that is. So also
    after an end that was recorded by someone who did not look."""
    damaged = output is not None and not output.whole
    unseen = record is not None and record.last is not None and record.last.last_step is None
    return newest_step(request.rule, record) if record and (damaged or unseen) else None


def _output(request: Request, record: Record | None) -> Output | None:
    return None if record is None or request.service else finished(request.rule, record)
