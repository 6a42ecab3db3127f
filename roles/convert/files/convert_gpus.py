"""Which GPUs a conversion may use: those that Slurm gave its job, and no others.

Where Slurm does not confine jobs to their devices, a job sees the GPUs of others too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping

_GIVEN = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "SLURM_GPUS_ON_NODE")
_SEEN = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


def are_given(env: Mapping[str, str] = os.environ) -> bool:
    """Whether Slurm gave the job any. SLURM_JOB_GPUS names them, the last one counts them."""
    return bool(env.get(_GIVEN[0]) or env.get(_GIVEN[1]) or env.get(_GIVEN[2], "0").strip("0"))


def hide_those_of_others(env: MutableMapping[str, str] = os.environ) -> None:
    """Hide all GPUs that are not the job's from what runs after this."""
    if not are_given(env):
        env.update(dict.fromkeys(_SEEN, ""))
