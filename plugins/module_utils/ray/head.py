"""Whether a published head still counts: Slurm knows the job that it runs in."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

from ..record.contract import Attempt, Observation, Record
from ..record.inside import is_inside, slurm_job
from ..record.ledger import Ledger
from ..slurm.backend import SlurmBackend, SlurmJob
from ..slurm.client import NOT_FOR_USERS, SlurmClient
from ..slurm.nodes import lost_nodes
from ..slurm.parse import Row

# Slurm job id of a head, and a time at which it was in use (epoch seconds) -> True: the job is
# over, False: it is alive, None: unknown.
HeadOver = Callable[[str, float], "bool | None"]

_SLACK = 300.0  # seconds that two hosts' clocks may differ
_CLUSTER = "ray"  # the stage of a run's Ray clusters


def seen_inside(client: SlurmClient, run_dir: Path, job_id: str) -> Observation | None:
    """A Ray cluster that runs in an allocation, by its record; None for one that is a job of its
    own, or that no record has."""
    if not is_inside(job_id):
        return None
    ledger = Ledger(run_dir, _CLUSTER, client.clock)
    own = [pair for pair in _attempts(ledger) if pair[1].job_id == job_id]
    for record, one in own:
        if one.settled:
            return Observation(one.phase, one.state, one.reason, one.exit_code, nodes=one.nodes)
        backend = SlurmBackend(client, SlurmJob(run_dir, _CLUSTER))
        return backend.observe(ledger.folder(record.fingerprint), one)
    return None


def _attempts(ledger: Ledger) -> list[tuple[Record, Attempt]]:
    return [(record, one) for record in ledger.readable()[0] for one in record.attempts]


def ask_slurm(client: SlurmClient, run_dir: Path) -> HeadOver:
    """Ask Slurm whether a head is over. One that it has forgotten certainly is."""

    def over(job_id: str, used: float) -> bool | None:
        inside = seen_inside(client, run_dir, job_id)
        if inside:
            return True if inside.phase.ended else None if not inside.known else False
        return _over(slurm_job(job_id), used)

    def _over(job_id: str, used: float) -> bool | None:
        answer = client.show(job_id)
        rows = answer.rows
        if answer.error == NOT_FOR_USERS:  # its absence is no proof, but its recorded end is
            rows = client.history([f"--jobs={job_id}"]).rows or None
        if rows is None or any(row.job_id != job_id for row in rows):
            return None
        if rows and _is_another(rows[0], used):
            return True
        if rows and rows[0].phase.live:
            return False
        return True if not rows or rows[0].phase.ended else None

    return over


class Heads:
    """How the Slurm jobs of Ray clusters ended, for the cause of a Ray job's end.

    `used` is a time at which the cluster was in use (epoch seconds): Slurm uses its ids again.
    """

    def __init__(self, client: SlurmClient, run_dir: Path) -> None:
        self._client = client
        self._run_dir = run_dir

    def end(self, job_id: str, used: float) -> Observation | None:
        """How a cluster's job ended; None while it is alive, or if that is unknown."""
        inside = seen_inside(self._client, self._run_dir, job_id)
        if inside:
            return inside if inside.phase.ended else None
        row = self._row(job_id, used)
        if row is None or not row.phase.ended:
            return None
        return Observation(row.phase, row.state, row.reason, row.exit_code, nodes=row.nodes)

    def lost_nodes(self, job_id: str, used: float) -> list[str]:
        """The nodes of a cluster's job that are down now or do not respond."""
        row = self._row(job_id, used)
        return lost_nodes(self._client, row.nodes, []) if row else []

    def slurm_name(self) -> str:
        """ClusterName of this host's Slurm; empty if it is not known."""
        return self._client.name()

    def forgotten(self, job_id: str, used: float) -> bool:
        """True if Slurm shows nothing of a cluster's job any more."""
        return self._row(job_id, used) is None

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._client.clock.now()

    def _row(self, around: str, used: float) -> Row | None:
        job_id = slurm_job(around)
        for answer in (self._client.show(job_id), self._client.history([f"--jobs={job_id}"])):
            rows = [row for row in answer.rows or [] if row.job_id == job_id]
            ours = [row for row in rows if not _is_another(row, used)]
            if ours:
                return ours[-1]
        return None


def _is_another(row: Row, used: float) -> bool:
    """True for a job that was submitted after the head was in use: Slurm was wiped, and uses its
    ids again."""
    return (row.submit or 0.0) > used + _SLACK
