"""Says whether torch, in the training environment, can use every GPU that this node should have.

The training would find out only when its workers start: a GPU that fell off the bus, a driver that
does not fit, memory that is in use. Argument: how many GPUs there have to be. Prints a fault, or
nothing.
"""

from __future__ import annotations

import sys
from typing import Any

import cluster_health


def fault(expected: int) -> str:
    """What is wrong; empty if nothing is."""
    begun = cluster_health.Look()
    try:
        import torch
    except ImportError as error:
        return f"torch cannot be imported: {error}"
    found = cluster_health.look(begun=begun)
    for text in found.warnings:
        print(f"mnrun: warning: {text}", file=sys.stderr)
    seen = torch.cuda.device_count()
    if seen != expected:
        return f"torch sees {seen} GPUs, {expected} expected"
    faults = (broken(torch, number) for number in range(expected))
    return next(filter(None, [*found.faults, *faults]), "")


def broken(torch: Any, number: int) -> str:
    """What is wrong with one GPU, by CUDA's number; empty if nothing is."""
    try:
        torch.ones(1, device=f"cuda:{number}").item()
    except RuntimeError as error:
        why = (str(error) or "no reason given").splitlines()[0]
        return f"torch cannot use GPU {number}: {why}"
    return ""


if __name__ == "__main__":
    print(fault(int(sys.argv[1])), end="")
