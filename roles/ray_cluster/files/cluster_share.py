"""A node's GPUs and cores, between the training and the services beside it.

The training has the first ones, services have the last ones.
Standard library only, Python 3.8 or later: runs inside jobs.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import TypeVar

_T = TypeVar("_T")


class ShareError(Exception):
    """A node has less than services were to get. The message is for the user."""


def of_training(visible: str, taken: int) -> str:
    """CUDA_VISIBLE_DEVICES without those of services."""
    return ",".join(_listed(visible)[:-taken]) if taken else visible


def of_service(visible: str, count: int, behind: int) -> str:
    """CUDA_VISIBLE_DEVICES of a service with this many GPUs, empty for none; `behind`: those of
    other services, which come after them. Raises ShareError."""
    known = _listed(visible)
    if count + behind > len(known):
        raise ShareError(f"it needs {count + behind} GPUs for services, the job has {len(known)}")
    return ",".join(_part(known, count, behind))


def keep_training_cores(taken: int, env: Mapping[str, str]) -> None:
    """Leave this many cores to services."""
    own = _confined(env)
    if taken and len(own) > taken:
        _bind(own[:-taken])


def keep_service_cores(count: int, behind: int, env: Mapping[str, str]) -> None:
    """Use this many cores only, before the last `behind`."""
    own = _part(_confined(env), count, behind)
    if own:
        _bind(own)


def _confined(env: Mapping[str, str]) -> list[int]:
    """The job's cores, if it is confined to them. Otherwise no core is its own, and none is taken
    for one, which another job may use."""
    own = sorted(os.sched_getaffinity(0))
    allowed = env.get("SLURM_CPUS_ON_NODE", "")
    return own if allowed.isdigit() and len(own) <= int(allowed) else []


def _bind(cores: list[int]) -> None:
    with contextlib.suppress(OSError):  # they help, nothing depends on them
        os.sched_setaffinity(0, cores)


def _part(known: list[_T], count: int, behind: int) -> list[_T]:
    end = len(known) - behind
    return known[max(0, end - count) : end] if count else []


def _listed(visible: str) -> list[str]:
    return [one for one in visible.split(",") if one]
