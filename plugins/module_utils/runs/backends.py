"""The backend that fits a record, for queries only: it cannot submit anything."""

from __future__ import annotations

from pathlib import Path

from ..handover.process import ProcessBackend, Program
from ..ray.backend import RayJob, RayRecords
from ..ray.head import Heads, ask_slurm
from ..record.contract import Backend, Record
from ..slurm.backend import SlurmBackend, SlurmJob
from ..slurm.client import SlurmClient
from ..stage.status import BackendOf


def slurm_or_ray(run_dir: Path, client: SlurmClient) -> BackendOf:
    """Slurm's jobs are queried in Slurm, Ray's from their files and the job of their cluster, and a
    relay on a login node from the kernel."""
    head_over, heads = ask_slurm(client, run_dir), Heads(client, run_dir)

    def choose(record: Record) -> Backend:
        if record.kind == "slurm":
            return SlurmBackend(client, SlurmJob(run_dir, record.stage))
        if record.kind == "process":
            return ProcessBackend(Program(run_dir, record.stage), client.clock)
        return RayRecords(RayJob(run_dir, record.stage), head_over, heads)

    return choose
