"""The srun of a step inside a job.

Standard library only, Python 3.8 or later: runs inside the Slurm job.
"""

from __future__ import annotations

import os

# They describe the tasks of the batch script, and srun would take them for those of its step.
_NOT_FOR_SRUN = {
    "SLURM_CPUS_PER_TASK",
    "SRUN_CPUS_PER_TASK",
    "SLURM_TRES_PER_TASK",
    "SLURM_DISTRIBUTION",
    "SLURM_NPROCS",
    "SLURM_NTASKS",
    "SLURM_NTASKS_PER_NODE",
}

# That of the training environment, or of its image; this program may run outside of that.
PYTHON = "python"


def srun_command(nodes: int, tasks: int) -> list[str]:
    """The srun command of a step with the same number of tasks on each node."""
    return [
        "srun",
        f"--nodes={nodes}",
        f"--ntasks={tasks}",
        f"--ntasks-per-node={tasks // nodes}",
        "--cpu-bind=none",
        "--mpi=none",
        "--export=ALL",
    ]


def srun_environment() -> dict[str, str]:
    """The environment of srun, and of what it starts."""
    return {name: value for name, value in os.environ.items() if name not in _NOT_FOR_SRUN}
