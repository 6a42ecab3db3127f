"""One rank of the all-reduce by which GPUs and network are tried before a training uses them.

srun starts it once for each GPU of each node (once for each node without GPUs). With `check`, each
rank looks at its own GPU first. Then all ranks reduce together; with three nodes or more,
neighbours do so before, all pairs at the same time: all nodes of one all-reduce are as slow as the
slowest, and of a node's two pairs the faster one shows how fast the node is. What a rank has come
to, it reports in lines of JSON (cluster_reports.py reads them), and between them that it is alive.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, Iterator

import cluster_health
import cluster_nccl
import cluster_torch
from cluster_interface import choose

_ROUNDS = 5
_BEAT = 2.0  # seconds


class Rank:
    """This process, and what it reports."""

    def __init__(self) -> None:
        self.number, self.of = int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_NTASKS"])
        self.local = int(os.environ["SLURM_LOCALID"])
        self._began = time.monotonic()
        self._lock = threading.Lock()
        threading.Thread(target=self._beat, daemon=True).start()

    def say(self, at: str, **facts: Any) -> None:
        """Report what it has come to, and after how many seconds."""
        seconds = round(time.monotonic() - self._began, 2)
        own = {"at": at, "rank": self.number, "seconds": seconds}
        with self._lock:
            print(json.dumps({**own, **facts}), flush=True)

    def _beat(self) -> None:
        while True:
            time.sleep(_BEAT)
            self.say("alive")


def main() -> None:
    """The argument is a plan: backend, address, port, mib, nodes, interface, check, seconds."""
    plan, rank = json.loads(sys.argv[1]), Rank()
    begun = cluster_health.Look() if plan["check"] else None
    hint = os.environ.get("NCCL_SOCKET_IFNAME", "")
    network = choose(plan["interface"], hint, plan["address"]).name
    # Gloo would use the address of the host's own name, which may be the loopback's.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", network)
    sockets = {}
    if plan["backend"] == "nccl" and len(plan["nodes"]) > 1:
        sockets = cluster_nccl.socket_settings(os.environ, network)
        os.environ.update(sockets)
    findings, fault = checked(plan, rank, begun)
    rank.say("ready", faults=fault, warnings=findings.warnings, sockets=sockets)
    if not fault and rank.of > 1:
        take_part(plan, rank)
    rank.say("done")


def checked(
    plan: dict[str, Any], rank: Rank, begun: cluster_health.Look | None
) -> tuple[cluster_health.Findings, list[str]]:
    """What there is to say of this rank's GPU; torch touches it only if it is not in use."""
    try:
        import torch
    except ImportError as error:
        return cluster_health.Findings([], []), [f"torch cannot be imported: {error}"]
    if begun is None:
        return cluster_health.Findings([], []), []
    findings = cluster_health.look(rank.local, begun)
    if plan["backend"] != "nccl":
        return findings, findings.faults
    seen, expected = torch.cuda.device_count(), rank.of // len(plan["nodes"])
    if seen < expected:
        return findings, [f"torch sees {seen} GPUs, {expected} expected"]
    return findings, findings.faults or list(
        filter(None, [cluster_torch.broken(torch, rank.local)])
    )


def take_part(plan: dict[str, Any], rank: Rank) -> None:
    """Reduce with all others."""
    import torch
    import torch.distributed as dist

    device = "cpu"
    if plan["backend"] == "nccl":
        device = f"cuda:{rank.local}"
        torch.cuda.set_device(device)
    with nccl_log(rank.local == 0 and plan["backend"] == "nccl") as log:
        dist.init_process_group(
            plan["backend"], init_method=f"tcp://{plan['address']}:{plan['port']}",
            rank=rank.number, world_size=rank.of, timeout=timedelta(seconds=plan["seconds"]),
        )  # fmt: skip
        rank.say("joined")
        data = torch.ones(int(plan["mib"] * 2**20) // 4, device=device)
        _pairs(plan["nodes"], rank, dist, data)
        rate = _rate(dist, data, dist.group.WORLD, rank.of)
        found = cluster_nccl.transport(log.read_text("utf-8", "replace")) if log else None
    rank.say("all", gb_per_s=rate, **_told(found))
    dist.barrier()
    dist.destroy_process_group()


def _told(found: cluster_nccl.Transport | None) -> dict[str, Any]:
    if found is None:
        return {}
    missed = cluster_nccl.missed(found, cluster_nccl.active_devices(), os.environ)
    return {"transport": found.words, "missed": missed}


@contextlib.contextmanager
def nccl_log(wanted: bool) -> Iterator[Path | None]:
    """Where NCCL writes meanwhile what it chose."""
    if not wanted:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "nccl"
        log.touch()
        os.environ.update(NCCL_DEBUG="INFO", NCCL_DEBUG_SUBSYS="INIT,NET", NCCL_DEBUG_FILE=str(log))
        yield log


def rounds(count: int) -> Iterator[list[tuple[int, int]]]:
    """Neighbours in a ring of nodes, in rounds in which each node is in one pair at most. Two nodes
    are no more than all of them."""
    if count > 2:
        yield [(one, one + 1) for one in range(0, count - 1, 2)]
        yield [(one, (one + 1) % count) for one in range(1, count, 2)]
        if count % 2:
            yield [(count - 1, 0)]


def _pairs(nodes: list[str], rank: Rank, dist: Any, data: Any) -> None:
    each = rank.of // len(nodes)
    own = rank.number // each
    for pairs in rounds(len(nodes)):
        mine = None
        for pair in pairs:
            ranks = [node * each + local for node in pair for local in range(each)]
            group = dist.new_group(ranks)
            mine = (group, len(ranks)) if own in pair else mine
        if mine:
            rate = _rate(dist, data, *mine)
            if rank.local == 0:
                rank.say("pair", node=nodes[own], gb_per_s=rate)


def _rate(dist: Any, data: Any, group: Any, ranks: int) -> float:
    """GB/s in and out of each rank, as nccl-tests count it ("bus bandwidth")."""
    dist.all_reduce(data, group=group)  # opens the connections
    data.fill_(1.0)
    _finish(data)
    begun = time.perf_counter()
    for _ in range(_ROUNDS):
        dist.all_reduce(data, group=group)
    _finish(data)
    seconds = (time.perf_counter() - begun) / _ROUNDS
    moved = data.numel() * data.element_size() * 2 * (ranks - 1) / ranks
    return round(float(moved / seconds / 1e9), 3)


def _finish(data: Any) -> None:
    if data.is_cuda:
        data[0].item()


if __name__ == "__main__":
    main()
