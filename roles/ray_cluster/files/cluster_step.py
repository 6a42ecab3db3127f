"""The srun steps of the Ray cluster's job.

Standard library only, Python 3.8 or later: runs inside the Slurm job, beside cluster.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from pathlib import Path
from typing import IO, NamedTuple, cast

from cluster_files import last_lines
from cluster_node import Plan

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
_CLEAN = 15.0  # seconds for the nodes to remove what one left


class Step(NamedTuple):
    """The srun over all nodes."""

    srun: subprocess.Popen[bytes]
    word: IO[bytes]  # closed: all nodes stop
    report: IO[bytes]  # lines of the nodes, see cluster_node.py; its end: srun ended

    def exit_code(self, seconds: float) -> int | None:
        """Wait for srun to end. None if it does not."""
        try:
            return self.srun.wait(seconds)
        except subprocess.TimeoutExpired:
            return None


def start_step(plan: Plan, nodes: int) -> Step:
    """Start one task on each node, with all CPUs and GPUs that the job has there."""
    command = [
        *srun_command(nodes, nodes),
        "--kill-on-bad-exit=1",
        PYTHON,
        "-B",
        str(Path(__file__).with_name("cluster_node.py")),
        json.dumps(plan._asdict()),
    ]
    pipe = subprocess.PIPE
    srun = subprocess.Popen(command, env=srun_environment(), stdin=pipe, stdout=pipe, bufsize=0)
    return Step(srun, cast("IO[bytes]", srun.stdin), cast("IO[bytes]", srun.stdout))


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


def clean_up(plan: Plan, nodes: int) -> None:
    """Remove what a node's program that was killed left on its disk."""
    program = str(Path(__file__).with_name("cluster_leftovers.py"))
    root = str(Path(plan.temp_dir).parent)
    command = [*srun_command(nodes, nodes), "--overlap", PYTHON, "-B", program]
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(
            [*command, "remove", root],
            env=srun_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=_CLEAN,
            check=False,
        )


def srun_messages() -> list[str]:
    """The last lines of the job's own standard error, where srun says why it ended."""
    try:
        lines = last_lines(Path(os.readlink("/proc/self/fd/2")), 20)
    except OSError:
        return []
    return [line for line in lines if not line.startswith("[ray]")][-10:]
