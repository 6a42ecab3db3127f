"""Live jobs of a stage that no record has as live: its record was removed, or was wrong.

They are looked for before each submission, as the record alone proves nothing about the queue.
"""

from __future__ import annotations

import os
from dataclasses import replace

from ..base.errors import Refused, Unknown
from ..record.contract import Attempt, Record, Stray
from ..record.job_report import given_up
from .context import Stage

_LATER = "Nothing was submitted and nothing cancelled; run this again when that works."


def take_in(stage: Stage, record: Record) -> bool:
    """Enter into `record`, as an intent, the live job that works on its options without being in
    it. False if there is no stray job.

    Raises:
        Refused: there is one that cannot be entered.
        Unknown: the scheduler does not list the jobs.
    """
    strays = _strays(stage)
    if strays and (len(strays) > 1 or not _enter(stage, record, strays[0])):
        raise Refused(_refusal(stage, strays))
    return bool(strays)


def refuse_strays(stage: Stage) -> None:
    """Raise Refused if there is a stray job, Unknown if the scheduler does not list the jobs."""
    strays = _strays(stage)
    if strays:
        raise Refused(_refusal(stage, strays))


def _strays(stage: Stage) -> list[Stray]:
    attempts = [
        (record, attempt) for record in stage.ledger.records() for attempt in record.attempts
    ]
    known = {attempt.token: (record, attempt) for record, attempt in attempts}
    try:
        found = stage.backend.live_jobs(stage.request.name)
    except Unknown as error:
        raise Unknown(f"{error.message} {_LATER}") from error
    return [stray for stray in found if _is_stray(stage, stray, known.get(stray.token))]


def _is_stray(stage: Stage, stray: Stray, known: tuple[Record, Attempt] | None) -> bool:
    """False for a job that is in the record as live, and for one that will end by itself: the
    second of two jobs of one attempt, or that of an attempt that was given up."""
    if known is None:
        return True
    record, attempt = known
    if not attempt.settled or given_up(stage.ledger.folder(record.fingerprint), attempt):
        return False
    return attempt.job_id == stray.job.job_id


def _enter(stage: Stage, record: Record, stray: Stray) -> bool:
    last = record.last
    if not stray.token or not record.fingerprint.startswith(stray.fingerprint or "-"):
        return False
    if last and last.token == stray.token:
        record.attempts.pop()
    elif last and (last.number >= stray.number or not last.settled):
        return False
    attempt = Attempt(
        stray.number,
        stray.token,
        stray.name,
        intent_time=stage.clock.now() if stray.submitted is None else stray.submitted,
    )
    record.attempts.append(signed(stage, attempt))
    return True


def signed(stage: Stage, attempt: Attempt) -> Attempt:
    """An attempt of this user, on this host's Slurm."""
    return replace(attempt, submitted_by=os.geteuid(), submitted_on=stage.backend.slurm_name())


def _refusal(stage: Stage, strays: list[Stray]) -> str:
    titles = ", ".join(f"{one.job.job_id} ({one.name}, {one.state})" for one in strays)
    how = "scancel" if stage.request.kind == "slurm" else "ray job stop"
    ids = " ".join(one.job.job_id for one in strays)
    return (
        f"Live jobs name this run and its stage {stage.request.stage}, but its record does not "
        f"have them as live (was it removed?): {titles}. Nothing was submitted or cancelled. Wait "
        f"for them, or end them ({how} {ids}), and run this again."
    )
