"""Which live jobs `state: absent` may stop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from ..record.contract import Attempt, Record
from ..record.job_report import read_end
from ..record.ledger import Ledger


@dataclass(frozen=True)
class Only:
    """The conditions that a job has to meet, all of them.

    `users` is the ledger of a stage that runs inside the job (PPO in a Ray cluster's): a job in
    which an attempt of it is not over stays. With `if_used` one that has not been used yet stays
    too: somebody else may be about to.
    """

    labels: dict[str, str] = field(default_factory=dict)
    users: Optional[Ledger] = None  # noqa: UP045 - Python 3.8 evaluates it
    if_used: bool = False

    def fits(self, record: Record) -> bool:
        """True if the record's live job may be stopped."""
        if any(record.labels.get(name) != value for name, value in self.labels.items()):
            return False
        if self.users is None or record.last is None:
            return True
        inside = _inside(self.users, record.last.job_id)
        return all(over for over in inside) and (bool(inside) or not self.if_used)


def _inside(users: Ledger, job_id: str) -> list[bool]:
    """For each attempt that ran, or may be starting, in a job: whether it is over."""
    return [
        _over(users, record, attempt)
        for record in users.records()
        for attempt in record.attempts
        if attempt.head_job == job_id
        or (not attempt.head_job and not _over(users, record, attempt))
    ]


def _over(users: Ledger, record: Record, attempt: Attempt) -> bool:
    """According to the record, or to the job itself if no controller was alive to record it."""
    return attempt.settled or read_end(users.folder(record.fingerprint), attempt) is not None
