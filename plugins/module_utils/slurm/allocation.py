"""The allocation that a relay runs in: what its batch script knows of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Mapping

from ..base.errors import Invalid
from ..record.inside import is_inside, new_id
from .client import SlurmClient

_OURS = "MNRUN_"


@dataclass(frozen=True)
class Allocation:
    """A Slurm job of ours on whose first node this program runs."""

    job: str
    nodes: str  # in Slurm's form
    environment: Mapping[str, str]  # of its batch script, as every batch script there has it


def seconds_left(client: SlurmClient, allocation: Allocation) -> float | None:
    """For how long the allocation is ours; None if that is not known."""
    rows = client.show(allocation.job).rows or []
    end = rows[0].end if rows else None
    return max(0.0, end - client.clock.now()) if end else None


def read_allocation(path: Path) -> Allocation:
    """The allocation whose batch script wrote its environment (`env -0`) to a file.

    Raises:
        Invalid: the file is not one of this user, or not of a batch script.
    """
    if path.stat().st_uid != os.geteuid():
        raise Invalid(f"{path} belongs to somebody else, so nothing is started from it.")
    entries = path.read_bytes().decode("utf-8", "surrogateescape").split("\0")
    pairs = (entry.partition("=") for entry in entries if "=" in entry)
    known = {name: value for name, _equals, value in pairs if not name.startswith(_OURS)}
    job, nodes = known.get("SLURM_JOB_ID", ""), known.get("SLURM_JOB_NODELIST", "")
    if not is_inside(new_id(job)) or not nodes:
        raise Invalid(f"{path} is not the environment of a batch script of Slurm.")
    return Allocation(job, nodes, known)
