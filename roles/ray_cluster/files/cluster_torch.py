"""Says whether torch, in the training environment, can use every GPU that this node should have.

The training would find out only when its workers start: a GPU that fell off the bus, a driver that
does not fit. Arguments: how many GPUs there have to be, and `least` if more do no harm. Prints a
fault, or nothing.
"""

from __future__ import annotations

import sys
from typing import Any


def fault(expected: int, least: bool = False) -> str:
    """What is wrong; empty if nothing is."""
    try:
        import torch
    except ImportError as error:
        return f"torch cannot be imported: {error}"
    seen = torch.cuda.device_count()
    if seen < expected or (seen > expected and not least):
        return f"torch sees {seen} GPUs, {expected} expected"
    for number in range(expected):
        broken = _broken(torch, number)
        if broken:
            return f"torch cannot use GPU {number}: {broken}"
    return ""


def _broken(torch: Any, number: int) -> str:
    try:
        torch.ones(1, device=f"cuda:{number}").item()
    except RuntimeError as error:
        return (str(error) or "no reason given").splitlines()[0]
    return ""


if __name__ == "__main__":
    print(fault(int(sys.argv[1]), sys.argv[2:] == ["least"]), end="")
