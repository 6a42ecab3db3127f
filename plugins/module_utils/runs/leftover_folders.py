"""Folders that killed jobs left on the disks of their nodes.

A node is examined from inside: by a one-minute job without GPUs, or directly if it is this host.
The program is the same that clusters use to clean their own nodes.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from ..base.clock import Clock
from ..base.errors import Unknown
from ..base.presence import read_text
from ..base.process import Runner
from ..record.ledger import Ledger
from ..slurm.nodelist import names_in

STAGES = ("ray", "sft")  # whose jobs have folders on their nodes
_DIRECTIVE = re.compile(r"^#SBATCH --([a-z-]+)=([\w.,+-]+)$", re.MULTILINE)
_PATIENCE = 15  # seconds to wait for free resources on a node
_LIMIT = 60.0  # seconds for one query
_CARRIED = ("partition", "account", "qos", "reservation")  # options that a job may need at the site


class Folders:
    """Looks at nodes and cleans them. `program` is the text of cluster_leftovers.py."""

    def __init__(self, run: Runner, program: str, root: str) -> None:
        self._run = run
        self._program = program
        self._root = root
        self._options: dict[str, list[str]] = {}  # of srun, by node
        self.here = os.uname().nodename

    def nodes_of(self, run_dir: Path, clock: Clock) -> list[str]:
        """The nodes of the run's last jobs, without this host.

        Raises:
            Damaged: the run's ledger cannot be read.
        """
        for ledger in (Ledger(run_dir, stage, clock) for stage in STAGES):
            for record in ledger.records():
                given = record.spec.get("sbatch") or _directives(ledger.folder(record.fingerprint))
                options = [f"--{name}={given[name]}" for name in _CARRIED if given.get(name)]
                for attempt in record.attempts[-3:]:
                    for node in names_in(attempt.nodes):
                        self._options.setdefault(node, options)
        return sorted(node for node in self._options if node != self.here)

    def stale(self, node: str) -> list[str]:
        """Paths of folders of dead clusters. Raises Unknown if the node cannot be examined."""
        return self._ask(node, "list")

    def remove(self, nodes: list[str]) -> None:
        """Remove them. Raises Unknown if a node cannot be reached."""
        for node in nodes:
            self._ask(node, "remove")

    def _ask(self, node: str, what: str) -> list[str]:
        program = [sys.executable, "-c", self._program, what, self._root]
        if node == self.here:
            # By path: `run` finds only Slurm's commands on PATH, and uses a path unchanged.
            done = self._run(program, _LIMIT, "")
        else:
            done = self._run([*self._srun(node), *program], _LIMIT, "")
        if done.code != 0:
            words = " ".join((done.err or done.out).split())[-200:]
            raise Unknown(f"node {node} could not be examined: {words or 'no answer in time'}")
        return [line for line in done.out.splitlines() if line.startswith(self._root)]

    def _srun(self, node: str) -> list[str]:
        return [
            "srun",
            *self._options.get(node, []),
            f"--nodelist={node}",
            "--nodes=1",
            "--ntasks=1",
            f"--immediate={_PATIENCE}",
            "--time=1",
            "--job-name=mnrun-gc",
            "--mpi=none",
        ]


def _directives(folder: Path) -> dict[str, str]:
    """The options in the script of a record, where its spec does not have them."""
    return dict(_DIRECTIVE.findall(read_text(folder / "script.sh") or ""))
