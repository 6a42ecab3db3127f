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
from cluster_srun import PYTHON, srun_command, srun_environment

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
