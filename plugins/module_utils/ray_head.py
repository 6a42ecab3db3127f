"""The head of a run's Ray cluster: what its Slurm job published, and whether it still counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

from .files import read_text
from .slurm import SlurmClient

# Slurm job id of a head -> True: the job is over, False: it is alive, None: nobody can say.
HeadOver = Callable[[str], "bool | None"]


def read_head(folder: Path, job_id: str = "") -> dict[str, Any] | None:
    """What the Ray cluster with its record in `folder` published when it was really up.

    With `job_id`: None if another job published it. The job's own end is not looked at.
    """
    text = read_text(folder / "head.json")
    if text is None:
        return None
    head = json.loads(text)
    if not isinstance(head, dict) or (job_id and head.get("job_id") != job_id):
        return None
    return {
        **head,
        "address": f"http://127.0.0.1:{head['dashboard_port']}",
        "gcs_address": f"{head['address']}:{head['gcs_port']}",
    }


def cluster_of(token_file: str) -> str:
    """The Slurm job id of the head whose token this is; empty if it is none of ours."""
    if not token_file:
        return ""
    token = Path(token_file).expanduser()
    head = read_head(token.parent)
    return str(head["job_id"]) if head and head.get("token_file") == str(token) else ""


def ask_slurm(client: SlurmClient) -> HeadOver:
    """Let Slurm say whether a head is over. One that it has forgotten surely is."""

    def over(job_id: str) -> bool | None:
        rows = client.show(job_id).rows
        if rows is None:
            return None
        if rows and rows[0].phase.live:
            return False
        return True if not rows or rows[0].phase.ended else None

    return over
