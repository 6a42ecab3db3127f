"""A Ray cluster that did not come up because of single nodes, or was slow: whether others can take
their place, or another start may do.

Slurm itself is asked, with the same script and those nodes left out: only it knows of limits,
reservations and what the other nodes are doing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base.files import parse_json
from ..base.presence import read_text
from ..slurm.client import SlurmClient
from ..slurm.parse import parse_start
from .cluster import Cluster

_SOON = 60.0  # seconds within which a job that starts finds its nodes free
_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Spare:
    """Nodes at fault while others are free."""

    faulty: list[str]
    excluded: str  # all nodes that the next job has to leave out, as sbatch takes them


def find_spare(
    cluster: Cluster, client: SlurmClient, now: float, already: str = ""
) -> Spare | None:
    """What to exclude, beside what was excluded `already`, to start again right now; None if that
    would not help, or not immediately."""
    faulty = _faulty(cluster.folder, cluster.attempt.job_id)
    script = cluster.folder / "script.sh"
    if not faulty or not script.is_file():
        return None
    excluded = ",".join(filter(None, [already, *faulty]))
    answer = client.sbatch(["--test-only", f"--exclude={excluded}", str(script)])
    start = parse_start(f"{answer.err}\n{answer.out}") if answer.code == 0 else None
    if start is None or start > now + _SOON:
        return None
    return Spare(faulty, excluded)


def was_slow(cluster: Cluster) -> bool:
    """Whether it ended only because Ray took too long to start: the same nodes may do next time."""
    return _report(cluster.folder, cluster.attempt.job_id).get("slow") is True


def _faulty(folder: Path, job_id: str) -> list[str]:
    """The nodes that a job named when it ended before it was up. None if all failed alike: then the
    nodes are not to blame."""
    report = _report(folder, job_id)
    try:
        nodes, of = list(report.get("nodes", [])), list(report.get("of", []))
    except TypeError:
        return []
    if len(nodes) == len(of) and len(of) > 1:
        return []
    # What a file names gets into a command line only if it can be a node.
    return [node for node in nodes if isinstance(node, str) and _NODE.fullmatch(node)]


def _report(folder: Path, job_id: str) -> dict[str, Any]:
    """What a job reported when it ended before it was up; empty if that was another one."""
    found = parse_json(read_text(folder / "faulty.json") or "")
    return found if isinstance(found, dict) and found.get("job_id") == job_id else {}
