"""What a call has done or found; describe.py turns it into a result."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..record.contract import Attempt, Record
from ..record.stopped import Stopped
from ..trainer.telling import Telling
from .cause import Cause
from .decide import Action


@dataclass
class Outcome:
    """The answer of `present`, `absent` or `conclude`."""

    action: Action
    why: str
    record: Record | None = None
    folder: Path | None = None
    attempt: Attempt | None = None
    output: dict[str, Any] | None = None  # the stage's result, if it is done and complete
    faults: list[str] = field(default_factory=list)  # of the result of a job that ended well
    problem: str = ""  # not empty: the call has failed, for this reason
    cause: Cause | None = None  # why the attempt ended without finishing its work
    telling: Telling | None = None  # the log's lines about that
    stopped: Stopped | None = None  # why the job itself ended the training
    retryable: bool = False  # another attempt is to be started automatically
    notes: list[str] = field(default_factory=list)
    diff: list[dict[str, Any]] = field(default_factory=list)
    plan: dict[str, Any] | None = None  # in check mode, what forecast.py says

    @property
    def advice(self) -> str:
        """What to do about the cause, in the words of this trainer's profile if it has any."""
        if self.cause is None:
            return ""
        own = self.record.trainer.get("advice") if self.record else None
        return (own or {}).get(self.cause.code) or self.cause.advice
