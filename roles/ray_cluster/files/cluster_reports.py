"""What the ranks of the all-reduce report (cluster_allreduce.py), as it comes.

Standard library only, Python 3.8 or later: runs inside the Slurm job.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

_PAUSE = 5.0  # seconds that count at most between two looks: a suspended job has not waited


class Wanted(NamedTuple):
    """What is to be tried."""

    nodes: list[str]  # the first one's address is `address`
    gpus: int  # on each node; 0: one rank of it without
    nccl: bool  # or gloo
    address: str
    interface: str  # the one that the user named; empty: by rule
    mib: float
    check: bool  # whether each rank looks at its GPU first
    seconds: float
    log: Path

    @property
    def ranks(self) -> int:
        """How many there are."""
        return len(self.nodes) * max(1, self.gpus)


class Reports:
    """What the ranks have reported so far, from the log of their step."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.by_rank: dict[int, dict[str, dict[str, Any]]] = {}  # rank -> at -> report
        self.heard: dict[int, float] = {}  # rank -> when the last one came, by `seconds`
        self.seconds = 0.0  # for how long they have been followed
        self._looked = time.monotonic()
        self._read = 0

    def update(self) -> None:
        """Read what is new."""
        now = time.monotonic()
        self.seconds += min(now - self._looked, _PAUSE)
        self._looked = now
        with self.wanted.log.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode("utf-8", "replace").splitlines():
            # Behind the rank that --label puts in front.
            rank, _, text = line.partition(": ")
            if rank.strip().isdigit() and int(rank) < self.wanted.ranks and text.startswith("{"):
                self._take(int(rank), text)

    def _take(self, rank: int, text: str) -> None:
        try:
            report = json.loads(text)
        except ValueError:
            return
        if isinstance(report, dict) and "at" in report:
            self.heard[rank] = self.seconds
            known = self.by_rank.setdefault(rank, {})
            if report["at"] != "pair" or report["gb_per_s"] > known.get("pair", {}).get(
                "gb_per_s", 0
            ):
                known[report["at"]] = report

    def at(self, name: str) -> dict[int, dict[str, Any]]:
        """The reports of one kind, by rank."""
        return {rank: each[name] for rank, each in sorted(self.by_rank.items()) if name in each}

    def missing(self, name: str) -> set[int]:
        """The ranks without one."""
        return set(range(self.wanted.ranks)) - set(self.at(name))

    def node(self, rank: int) -> str:
        """Where a rank is."""
        return self.wanted.nodes[rank // max(1, self.wanted.gpus)]

    def faults(self, ranks: set[int], text: str) -> dict[str, list[str]]:
        """The same fault of the nodes of these ranks."""
        return {self.node(rank): [text] for rank in sorted(ranks)}

    def gathered(self, field: str) -> dict[str, list[str]]:
        """What the ranks of each node have to say of their GPUs, everything once."""
        found: dict[str, list[str]] = {}
        for rank, report in self.at("ready").items():
            for text in report[field]:
                if text not in found.setdefault(self.node(rank), []):
                    found[self.node(rank)].append(text)
        return {node: texts for node, texts in found.items() if texts}
