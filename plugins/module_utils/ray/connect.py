"""The backend for Ray jobs that fits what is known about their head."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Mapping

from ..base.clock import Clock
from ..base.process import run
from ..record.ray_head import Head
from ..slurm.client import SlurmClient
from .backend import RayBackend, RayJob, RayRecords
from .client import RayClient, http_transport
from .head import Heads, ask_slurm


def ray_backend(job: RayJob, given: Mapping[str, Any] | None, clock: Clock) -> RayRecords:
    """A backend that talks to the given head; without one, it only reads records.

    Raises:
        Invalid: a value of the head is not of the form that it has to have.
    """
    slurm = SlurmClient(run, clock)
    head_over, heads = ask_slurm(slurm, job.run_dir), Heads(slurm, job.run_dir)
    if not given:
        return RayRecords(job, head_over, heads)
    head = Head.of(given)
    client = RayClient(http_transport(head.dashboard_url, head.token_file))
    return RayBackend(client, replace(job, head_job=head.job_id), head_over, heads)
