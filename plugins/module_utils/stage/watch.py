"""Watches a live job: its own files often, because that is cheap, its scheduler rarely."""

from __future__ import annotations

from pathlib import Path

from ..base.clock import Clock, Deadline
from ..base.errors import Unknown
from ..base.files import changed_at
from ..record.contract import Attempt, Backend, Observation, Phase
from ..record.job_report import end_path, start_path

TICK = 0.5  # seconds between two checks of the job's files
_SHORTEST, _LONGEST = 1.0, 30.0  # seconds between two queries of the scheduler
_SLOWER = 10.0  # a job that is N seconds old is queried every N / 10 seconds
SILENCE_LIMIT = 600.0  # seconds without a trustworthy answer before we give up


class Watch:
    """One attempt under observation. `look` is cheap: call it every TICK."""

    def __init__(self, backend: Backend, folder: Path, attempt: Attempt, clock: Clock) -> None:
        self._backend = backend
        self._folder = folder
        self._attempt = attempt
        self._clock = clock
        # The job's own files, and the record: somebody else may end the job.
        record = folder / "record.json"
        self._files = (start_path(folder, attempt.number), end_path(folder, attempt.number), record)
        self._seen = self._there()
        self._asked = clock.monotonic()
        self.observation = backend.observe(folder, attempt)
        # When the scheduler or the job last reported a change. A job is followed by many watches in
        # a row: what it has been doing for an hour is new to none of them.
        self._news = self._asked - self._age()

    def look(self) -> Observation:
        """The latest observation. Queries the scheduler if it is time to, or if the job has just
        recorded its start or end, or somebody changed the record."""
        there, now = self._there(), self._clock.monotonic()
        if there != self._seen:
            self._seen, self._news = there, now
            self._ask(now)
        elif now - self._asked >= self._delay(now):
            self._ask(now)
        return self.observation

    def _age(self) -> float:
        """How long the job has been running or waiting."""
        seen = self.observation
        begin = seen.start if seen.phase is Phase.RUNNING else None  # else Slurm's estimate
        return max(0.0, self._clock.now() - (begin or self._attempt.intent_time))

    def _there(self) -> list[int]:
        return [changed_at(path) for path in self._files]

    def _delay(self, now: float) -> float:
        age = now - self._news
        since = self._clock.now() - self._attempt.intent_time
        if since >= 0:  # the clock of its controller was not ahead
            age = min(age, since)
        return min(_LONGEST, max(_SHORTEST, age / _SLOWER))

    def _ask(self, now: float) -> None:
        self._asked = now
        before = self.observation
        self.observation = self._backend.observe(self._folder, self._attempt)
        if self.observation.state != before.state:
            self._news = now


def wait_until_ended(
    backend: Backend, folder: Path, attempt: Attempt, clock: Clock, deadline: Deadline
) -> Observation | None:
    """How the job ended; None if the deadline passed first.

    Raises Unknown if nothing was known about it for SILENCE_LIMIT seconds.
    """
    watch = Watch(backend, folder, attempt, clock)
    silence = Deadline(clock, SILENCE_LIMIT)
    while True:
        observation = watch.look()
        if observation.phase.ended:
            return observation
        if observation.known:
            silence = Deadline(clock, SILENCE_LIMIT)
        elif silence.over():
            raise Unknown(
                f"The state of job {attempt.job_id} has been unknown for {SILENCE_LIMIT:.0f} s: "
                f"{observation.detail}. It was left alone; run this again to re-attach."
            )
        if deadline.over():
            return None
        deadline.pause(TICK)
