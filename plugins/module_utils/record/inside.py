"""Ids of stages that run inside the allocation of their run's relay, without a job of their own.

Such an id is that of the allocation, a dot, and six digits of its own: two processes of one attempt
differ, and the Slurm job that holds the nodes can be read from it.
"""

from __future__ import annotations

import re
import secrets

FORM = r"[1-9][0-9]{0,9}(?:\.[0-9a-f]{6})?"
"""Of the id of a Slurm job, or of a stage inside one."""

_INSIDE = re.compile(r"([1-9][0-9]{0,9})\.[0-9a-f]{6}")


def new_id(job: str) -> str:
    """The id of another stage in the allocation `job`."""
    return f"{job}.{secrets.token_hex(3)}"


def is_inside(job_id: str) -> bool:
    """True for the id of a stage in an allocation."""
    return _INSIDE.fullmatch(job_id) is not None


def slurm_job(job_id: str) -> str:
    """The Slurm job that an id names: that around a stage, or the id itself."""
    found = _INSIDE.fullmatch(job_id)
    return found[1] if found else job_id
