"""A backend without a scheduler: it only reads the ledger and the job's own files.

For `*_info` about jobs of the other scheduler, and for a Ray job while no head is known.
"""

from __future__ import annotations

from pathlib import Path

from ..base.errors import Unknown
from ..record.contract import Attempt, Found, JobRef, Observation, Phase, Stray
from ..record.job_report import read_end, read_start


class RecordedBackend:
    """Reads only: it cannot submit or stop; see `contract.Backend`."""

    noun = "job"
    quiet_window = 0.0

    def attempt_name(self, base: str, fingerprint: str, number: int) -> str:
        """A name for a plan; nothing is submitted under it."""
        return f"{base}-{fingerprint[:8]}-{number}"

    def files(self, folder: Path, attempt: Attempt) -> dict[str, str]:  # noqa: ARG002
        """None: nothing is submitted."""
        return {}

    def check(self, folder: Path, attempt: Attempt) -> None:
        """Nothing to check against."""

    def submit(self, folder: Path, attempt: Attempt) -> JobRef:
        """Refuse."""
        raise Unknown(f"{attempt.name} cannot be submitted from {folder}: no scheduler is known.")

    def find(self, folder: Path, attempt: Attempt) -> Found:
        """The job that recorded its start."""
        started = read_start(folder, attempt)
        return Found(True, started) if started else Found(False, None, "no scheduler was asked")

    def observe(self, folder: Path, attempt: Attempt) -> Observation:
        """How it ended according to itself; otherwise as last recorded, which proves nothing."""
        ended = read_end(folder, attempt)
        if ended:
            return ended
        return Observation(Phase.UNKNOWN, attempt.state, detail="as last recorded")

    def enclosing_end(self, attempt: Attempt) -> Observation | None:  # noqa: ARG002
        """No scheduler is asked."""
        return None

    def lost_nodes(self, attempt: Attempt) -> list[str]:  # noqa: ARG002
        """No scheduler is asked."""
        return []

    def spare(self, nodes: list[str]) -> list[str]:  # noqa: ARG002
        """None."""
        return []

    def slurm_name(self) -> str:
        """Not known."""
        return ""

    def live_jobs(self, base: str) -> list[Stray]:  # noqa: ARG002
        """No scheduler is asked."""
        return []

    def stop(self, attempt: Attempt, signal: str) -> None:
        """Refuse."""
        raise Unknown(
            f"{attempt.name} cannot be sent {signal or 'its end'}: no scheduler is known."
        )
