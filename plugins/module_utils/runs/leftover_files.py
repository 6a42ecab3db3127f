"""Published heads and tokens of Ray clusters: whether the job that each belongs to is over.

That a job is not in this user's queue proves nothing by itself: it may be a colleague's, or another
Slurm's. The record's attempts and their backend decide, as for every other question about a job.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from ..base.clock import Clock
from ..base.errors import Damaged
from ..base.presence import names
from ..record.contract import GONE, Attempt, Observation, Phase, Record
from ..record.inside import FORM
from ..record.ledger import Ledger, stages
from ..record.ray_head import HEAD_FILE, read_head
from ..slurm.backend import SlurmBackend, SlurmJob
from ..slurm.client import SlurmClient


class Judged(NamedTuple):
    """A file of a job. `over`: whether the job is; None if that is unknown."""

    path: Path
    over: bool | None
    why: str


def judged_files(run: Path, client: SlurmClient, clock: Clock) -> list[Judged]:
    """All heads and tokens in a run's records. Raises OSError if they cannot be read."""
    found = []
    for stage in stages(run):
        ledger = Ledger(run, stage, clock)
        backend = SlurmBackend(client, SlurmJob(run, stage))
        for key in ledger.folders():
            files = _files(ledger.folder(key))
            if files:
                judge = _Judge(ledger, key, backend)
                found += [judge.judged(path, job_id) for path, job_id in files.items()]
    return found


def _files(folder: Path) -> dict[Path, str]:
    """The heads and tokens in a folder, with the Slurm job of each."""
    jobs = {folder / name: _job_of(folder / name) for name in names(folder)}
    return {path: job_id for path, job_id in jobs.items() if job_id}


def _job_of(path: Path) -> str:
    """The Slurm job of a published head or of a token; empty for any other file."""
    token = re.fullmatch(rf"token-({FORM})", path.name)
    if token:
        return token.group(1)
    found = read_head(path.parent) if path.name == HEAD_FILE else None
    return found.head.job_id if found else ""


class _Judge:
    """One record, each of whose attempts is looked at once."""

    def __init__(self, ledger: Ledger, key: str, backend: SlurmBackend) -> None:
        self._folder = ledger.folder(key)
        self._backend = backend
        self._seen: dict[int, Observation] = {}
        self._damage = ""
        self._record: Record | None = None
        try:
            self._record = ledger.load(key)
        except Damaged as damage:
            self._damage = damage.message

    def judged(self, path: Path, job_id: str) -> Judged:
        owner = path.lstat().st_uid
        if owner != os.geteuid():
            return Judged(path, None, f"it belongs to another user (uid {owner})")
        if self._record is None:
            return Judged(path, None, self._damage or "its record is missing")
        attempts = self._record.attempts
        # A job that the record does not name: over, if all are that it names.
        named = [one for one in attempts if one.job_id == job_id] or attempts
        doubts = [doubt for one in named if (doubt := self._doubt(one)) is not None]
        if not doubts:
            return Judged(path, True, f"job {job_id} is over")
        return Judged(path, None if any(doubts) else False, "".join(doubts[:1]))

    def _doubt(self, attempt: Attempt) -> str | None:
        """None if the attempt is certainly over, an empty text if it is certainly alive; otherwise
        why that is unknown."""
        if attempt.settled and attempt.state != GONE:
            return None
        if attempt.number not in self._seen:
            self._seen[attempt.number] = self._backend.observe(self._folder, attempt)
        seen = self._seen[attempt.number]
        if seen.phase.live:
            return ""
        # That nothing is seen of it counts where it is known who submitted it, and to which Slurm.
        known = attempt.submitted_by is not None and attempt.submitted_on
        if seen.phase.ended and (seen.phase is not Phase.GONE or known):
            return None
        words = seen.detail or "this Slurm does not show it, and its end is not recorded"
        return f"job {attempt.job_id} may be alive: {words}"
