"""One rank of the all-reduce by which the nodes' network is measured before a training uses it.

srun starts it once for each GPU of each node (once for each node without GPUs). All ranks together
first, then the ranks of the first node with those of each other one: all nodes of one all-reduce
are as slow as the slowest, and the pairs tell which one that is. Rank 0 prints a line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from cluster_interface import choose

_ROUNDS = 5


def main() -> None:
    """Arguments: nccl or gloo, the head's address, a free port there, MiB, nodes in order."""
    backend, address, port, size, *nodes = sys.argv[1:]
    import torch
    import torch.distributed as dist

    # Gloo would use the address of the host's own name, which may be the loopback's.
    wanted, hint = os.environ["MNRUN_INTERFACE"], os.environ.get("NCCL_SOCKET_IFNAME", "")
    os.environ.setdefault("GLOO_SOCKET_IFNAME", choose(wanted, hint, address).name)
    rank, ranks = int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_NTASKS"])
    device = "cpu"
    if backend == "nccl":
        device = f"cuda:{os.environ['SLURM_LOCALID']}"
        torch.cuda.set_device(device)
    dist.init_process_group(
        backend, init_method=f"tcp://{address}:{port}", rank=rank, world_size=ranks
    )
    data = torch.ones(int(size) * 2**20 // 4, device=device)
    found = {"all": _rate(dist, data, dist.group.WORLD, ranks)}
    each = ranks // len(nodes)
    head = list(range(each))
    for number, node in enumerate(nodes[1:], start=1):
        pair = head + list(range(number * each, (number + 1) * each))
        group = dist.new_group(pair)
        if rank in pair:
            found[node] = _rate(dist, data, group, len(pair))
        dist.barrier()
    if rank == 0:
        others = {name: rate for name, rate in found.items() if name != "all"}
        # The first node was in every pair: it is as fast as the best of them says.
        first = max(others.values(), default=found["all"])
        print(json.dumps({"all": found["all"], "nodes": {nodes[0]: first, **others}}), flush=True)
    dist.barrier()
    dist.destroy_process_group()


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
