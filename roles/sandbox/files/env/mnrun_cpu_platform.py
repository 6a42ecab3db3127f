"""What verl 0.9 needs to train on a CPU: a platform of its own kind, and a rollout.

Loaded by ``mnrun_cpu_patches`` for a verl that asks a platform about its device.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import torch
from mnrun_import_hook import ImportHook
from verl.plugin.platform import set_platform
from verl.plugin.platform.platform_cuda import PlatformCUDA

ROLLOUT = "hf"


class PlatformCPU(PlatformCUDA):
    """A CPU that Ray schedules as a GPU: Ray's resource and variables stay the GPU's."""

    device_name = "cpu"
    vendor_name = "mnrun"
    device_module = torch.cpu

    def is_available(self) -> bool:
        """A CPU is always there."""
        return True

    def current_device(self) -> str:
        """verl hands it to ``Tensor.to``, which would take a number for a GPU's."""
        return "cpu"

    def device_count(self) -> int:
        """One for each process."""
        return 1

    def set_device(self, device_index: int) -> None:
        """There is only one."""

    def synchronize(self, device_index: int | None = None) -> None:
        """Nothing runs beside the caller."""

    def manual_seed(self, seed: int) -> None:
        """Seed the generator."""
        torch.manual_seed(seed)

    manual_seed_all = manual_seed

    def set_allocator_settings(self, settings: str) -> None:
        """There is no allocator to set."""

    def empty_cache(self) -> None:
        """There is no cache."""

    def communication_backend_name(self) -> str:
        """Torch's own for CPUs."""
        return "gloo"

    @contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        """No ranges are recorded."""
        yield

    def is_ipc_supported(self) -> bool:
        """No memory of a device is shared."""
        return False


def patch() -> None:
    """Make this process train on the CPU."""
    # workers/engine/base.py:405: FSDP's engine is registered for GPUs, and runs on any device.
    os.environ.setdefault("VERL_ENGINE_DEVICE", "cuda")
    # utils/checkpoint/checkpoint_manager.py:222: a resumed training sets its device's random state.
    torch.cpu.set_rng_state = torch.set_rng_state
    set_platform(PlatformCPU())
    hooks = (ImportHook("verl.workers.rollout.base", know_adapter),
             ImportHook("verl.workers.rollout.replica", know_replica))  # fmt: skip
    sys.meta_path[:0] = hooks


def know_adapter(module: ModuleType) -> None:
    """Answer workers/rollout/base.py:81, the list of rollouts that a training worker knows."""
    module._ROLLOUT_REGISTRY[ROLLOUT, "async"] = "mnrun_cpu_rollout.Adapter"


def know_replica(module: ModuleType) -> None:
    """Answer workers/rollout/replica.py:402, the list of rollouts that the trainer starts."""

    def load() -> type:
        from mnrun_cpu_rollout import Replica

        return Replica

    module.RolloutReplicaRegistry.register(ROLLOUT, load)
