"""This user's live jobs that belong to a run and a stage, whatever its records say."""

from __future__ import annotations

import re
from pathlib import Path

from ..base.errors import Unknown
from ..record.contract import JobRef, Stray
from ..record.mark import MARK, names_run
from .client import SlurmClient
from .parse import Row


def live_jobs(client: SlurmClient, run_dir: Path, stage: str, base: str) -> list[Stray]:
    """By their comment; where a site overwrites that, by the base of their name and their folder.

    Raises Unknown.
    """
    queue = client.queue()
    if queue.rows is None:
        raise Unknown(f"Slurm does not list the jobs: {queue.error}.")
    named = re.compile(rf"{re.escape(base)}-[0-9a-f]{{8}}-[0-9]+")
    found = []
    for row in queue.rows:
        sign = MARK.fullmatch(row.comment)
        if row.phase.ended:
            continue
        if sign and sign.group("stage") == stage and names_run(sign, run_dir):
            found.append(_marked(client, row, sign))
        elif not sign and named.fullmatch(row.name) and _is_in(client, row, run_dir):
            found.append(Stray(JobRef(row.job_id), row.name, row.state))
    return found


def _marked(client: SlurmClient, row: Row, sign: re.Match[str]) -> Stray:
    shown = client.show(row.job_id).rows
    return Stray(
        JobRef(row.job_id),
        row.name,
        row.state,
        fingerprint=sign.group("fp"),
        number=int(sign.group("number")),
        token=sign.group("token"),
        submitted=shown[0].submit if shown else None,
    )


def _is_in(client: SlurmClient, row: Row, run_dir: Path) -> bool:
    """True unless a job is certainly of another folder."""
    shown = client.show(row.job_id).rows
    return shown is None or any(one.work_dir == str(run_dir) for one in shown)
