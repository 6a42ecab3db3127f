"""The backend for Ray jobs that fits what is known of their head."""

from __future__ import annotations

from dataclasses import replace

from ..base.clock import Clock
from ..base.process import run
from ..slurm.client import SlurmClient
from .backend import RayBackend, RayJob, RayRecords
from .client import RayClient, http_transport
from .head import Heads, ask_slurm, cluster_of


def ray_backend(job: RayJob, address: str, token_file: str, clock: Clock) -> RayRecords:
    """One that talks to the head at `address`; without an address, one that reads records only.

    Raises:
        Invalid: the address is none.
    """
    slurm = SlurmClient(run, clock)
    head_over, heads = ask_slurm(slurm), Heads(slurm)
    if not address:
        return RayRecords(job, head_over, heads)
    client = RayClient(http_transport(address, token_file))
    return RayBackend(client, replace(job, cluster=cluster_of(token_file)), head_over, heads)
