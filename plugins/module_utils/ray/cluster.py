"""A run's Ray cluster, from its Slurm job and from what that published."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..base.clock import Clock, Deadline
from ..base.errors import MnrunError
from ..base.logfile import last_lines
from ..record.contract import Attempt, Backend, Observation, Phase, Record
from ..record.ledger import Ledger
from ..record.ray_head import Published, read_head
from ..stage.decide import ending
from ..stage.describe import described, state_digest
from ..stage.watch import TICK, Watch
from ..trainer.telling import find_telling

_ERROR = "[ray] error: "  # how the cluster's own last words begin in the job's log
_WORDS = 80  # lines of them at most


@dataclass(frozen=True)
class Cluster:
    """The newest Ray cluster of a run, at one moment."""

    record: Record
    attempt: Attempt
    known: bool  # False: the attempt is as it was seen last
    detail: str  # for not known: why
    folder: Path
    published: Published | None  # about itself, if it is up
    why: str = ""  # it waits in the queue, in words
    expected: float | None = None  # when it starts, by Slurm's estimate

    @property
    def digest(self) -> str:
        """Changes whenever there is something new to report about the job."""
        return state_digest(self.attempt, self.known)


def newest(ledger: Ledger) -> Record | None:
    """The record of the cluster that was started last."""
    records = [record for record in ledger.records() if record.last]
    return max(records, key=lambda record: record.attempts[-1].intent_time, default=None)


def wait_for_head(
    ledger: Ledger, record: Record, backend: Backend, clock: Clock, seconds: float, since: str = ""
) -> Cluster:
    """Wait until the head is up or the job over; with `since`, for another digest than that too."""
    deadline = Deadline(clock, seconds)
    folder = ledger.folder(record.fingerprint)
    attempt = record.attempts[-1]
    if attempt.settled or not attempt.job_id:
        return Cluster(record, attempt, True, "", folder, None)
    watch = Watch(backend, folder, attempt, clock)
    while True:
        cluster = _seen(record, attempt, folder, watch.look())
        over = cluster.attempt.settled or deadline.over()
        if cluster.published or over or (since and cluster.digest != since):
            return cluster
        deadline.pause(TICK)


def _seen(record: Record, attempt: Attempt, folder: Path, observed: Observation) -> Cluster:
    # A job that is COMPLETING has published a head that is no more.
    running = observed.phase is Phase.RUNNING and observed.state == "RUNNING"
    found = read_head(folder) if running else None
    ours = found if found and found.head.job_id == attempt.job_id else None
    now = attempt.seen(observed)
    known, detail = observed.known, observed.detail
    return Cluster(record, now, known, detail, folder, ours, observed.why, observed.expected)


def as_result(cluster: Cluster, now: float) -> dict[str, Any]:
    """What the module returns of a cluster."""
    attempt = cluster.attempt
    begin = attempt.intent_time if attempt.phase is Phase.QUEUED else attempt.start
    return {
        "stage": cluster.record.stage,
        **_published(cluster.published),
        "known": cluster.known,
        "detail": cluster.detail,
        "seconds": (attempt.end or now) - (begin or attempt.intent_time),
        "digest": cluster.digest,
        "why": cluster.why,
        "timing": {
            "now": now,
            "expected": cluster.expected if (cluster.expected or 0) > now else None,
            "gpus": attempt.gpus or None,
            "since": attempt.start,
            "limit": attempt.time_limit,
        },
        **described(cluster.record, attempt, cluster.folder),
    }


def _published(found: Published | None) -> dict[str, Any]:
    if found is None:
        return {"head": None}
    return {
        "head": asdict(found.head),
        "gcs_address": found.head.gcs_address,
        "dashboard_url": found.head.dashboard_url,
        "cluster": found.cluster,
    }


def why_ended(cluster: Cluster) -> str:
    """What the cluster itself wrote about its end, or what Slurm reports."""
    return _last_words(cluster.attempt) or f"The Ray cluster's {ending(cluster.attempt)}."


def refuse_ended(cluster: Cluster) -> None:
    """Raise MnrunError, with the cause, if the cluster's job is over."""
    attempt = cluster.attempt
    if not attempt.settled:
        return
    words = f"The Ray cluster's {ending(attempt)}."
    own_words = _last_words(attempt)
    if own_words:
        raise MnrunError(f"{words}\n{own_words}")
    cause = find_telling(attempt.log_paths)
    if cause:
        raise MnrunError(
            f"{words}\nLog: {cause.path}\n{cause.line}".rstrip(),
            log_tail=cause.lines,
            log_path=str(cause.path),
        )
    raise MnrunError(f"{words} The logs are empty: {attempt.stdout}, {attempt.stderr}.")


def _last_words(attempt: Attempt) -> str:
    """What the cluster itself wrote about its end; empty if it wrote nothing."""
    lines = last_lines(Path(attempt.stdout), _WORDS)[0] if attempt.stdout else []
    begins = [number for number, line in enumerate(lines) if line.startswith(_ERROR)]
    return "\n".join(lines[begins[-1] :])[len(_ERROR) :] if begins else ""
