"""What verl needs to train on a CPU. Each patch names the line of verl 0.5.0 that it answers.

Loaded by ``mnrun_cpu_shim`` only, while verl is being imported on a machine without a GPU.
"""

from __future__ import annotations

import functools
import importlib
from types import ModuleType
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.fsdp import MixedPrecisionPolicy
from transformers import PreTrainedModel
from transformers.generation.utils import GenerationMixin

init_process_group = dist.init_process_group
all_reduce = dist.all_reduce
choose_attention = PreTrainedModel.get_correct_attn_implementation
generate = GenerationMixin.generate
choose_precision = MixedPrecisionPolicy.__init__

# get_torch_device().NAME() in workers/fsdp_workers.py:695 and 755, utils/flops_counter.py:45,
# workers/rollout/hf_rollout.py:172, utils/profiler/performance.py:33: torch.cpu has none of these.
NO_DEVICE_MEMORY = {
    "empty_cache": lambda: None,
    "memory_allocated": lambda: 0,
    "memory_reserved": lambda: 0,
    "max_memory_allocated": lambda: 0,
    "max_memory_reserved": lambda: 0,
    "mem_get_info": lambda: (0, 0),
    "get_device_name": lambda: "cpu",
}


def patch(device: ModuleType) -> None:
    """Make the CPU a device that verl can train on; ``device`` is verl.utils.device."""
    # utils/device.py:86: get_nccl_backend() raises where there is neither CUDA nor NPU.
    setattr(device, "get_nccl_backend", lambda: "gloo")  # noqa: B010 - a module has no such name
    for name, stand_in in NO_DEVICE_MEMORY.items():
        if not hasattr(torch.cpu, name):
            setattr(torch.cpu, name, stand_in)
    # workers/fsdp_workers.py:394: the reference policy is offloaded to pinned memory, which only
    # a GPU's driver has.
    torch.Tensor.pin_memory = lambda tensor, *_: tensor
    dist.init_process_group = init_with_gloo
    dist.all_reduce = all_reduce_with_mean
    PreTrainedModel.get_correct_attn_implementation = choose_cpu_attention
    GenerationMixin.generate = generate_with_own_positions
    MixedPrecisionPolicy.__init__ = choose_full_precision
    torch.autocast = NoAutocast
    if hasattr(device, "get_platform"):
        importlib.import_module("mnrun_cpu_platform").patch()


@functools.wraps(init_process_group)
def init_with_gloo(backend: str | None = None, *args: Any, **kwargs: Any) -> None:
    """Answer workers/fsdp_workers.py:122: torch refuses ``cpu:gloo,cpu:gloo`` as a duplicate."""
    simple = "gloo" if backend == "cpu:gloo,cpu:gloo" else backend
    init_process_group(simple, *args, **kwargs)


@functools.wraps(all_reduce)
def all_reduce_with_mean(
    tensor: torch.Tensor,
    op: Any = dist.ReduceOp.SUM,
    group: Any = None,
    async_op: bool = False,
) -> Any:
    """Answer utils/profiler/performance.py:202: gloo has no AVG."""
    if op != dist.ReduceOp.AVG:
        return all_reduce(tensor, op=op, group=group, async_op=async_op)
    all_reduce(tensor, op=dist.ReduceOp.SUM, group=group)
    tensor.div_(dist.get_world_size(group))
    return None


@functools.wraps(choose_attention)
def choose_cpu_attention(self: Any, requested: str | None, is_init_check: bool = False) -> str:
    """Answer trainer/fsdp_sft_trainer.py:232 and workers/fsdp_workers.py:254, 1017, 1379.

    They insist on flash attention, which is for GPUs only.
    """
    available = "sdpa" if requested == "flash_attention_2" else requested
    chosen: str = choose_attention(self, available, is_init_check)
    return chosen


@functools.wraps(generate)
def generate_with_own_positions(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Answer workers/rollout/hf_rollout.py:113, which hands ``position_ids`` over.

    This version of transformers never advances them: every answer degenerates and every reward is
    zero, without an error. From the attention mask alone it makes the same positions.
    """
    kwargs.pop("position_ids", None)
    return generate(self, *args, **kwargs)


class NoAutocast(torch.autocast):
    """Answer workers/actor/dp_actor.py:100, workers/critic/dp_critic.py:66,
    workers/rollout/hf_rollout.py:109 and trainer/fsdp_sft_trainer.py:362.

    They compute in bfloat16. A CPU without AVX-512 multiplies such matrices in a plain loop,
    several times slower than in float32.
    """

    def __init__(self, device_type: str, *_: Any, **__: Any) -> None:
        super().__init__(device_type, enabled=False)


@functools.wraps(choose_precision)
def choose_full_precision(self: Any, *args: Any, **kwargs: Any) -> None:
    """Answer workers/fsdp_workers.py:339 and 1077 and trainer/fsdp_sft_trainer.py:300: as above."""
    choose_precision(self, *args, **{**kwargs, "param_dtype": torch.float32})
