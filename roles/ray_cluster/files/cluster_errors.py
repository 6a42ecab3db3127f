"""What goes wrong with the Ray cluster as a whole.

Standard library only, Python 3.8 or later: runs inside the Slurm job, beside cluster.py.
"""

from __future__ import annotations

from collections.abc import Iterable


class ClusterError(Exception):
    """The cluster did not come up, or is lost. The message is for the user.

    `nodes` are those at fault; none if the fault is not one of single nodes. `slow`: they only took
    too long, so that the same nodes may do the next time.
    """

    def __init__(self, message: str, nodes: Iterable[str] = (), slow: bool = False) -> None:
        super().__init__(message)
        self.nodes = list(nodes)
        self.slow = slow
