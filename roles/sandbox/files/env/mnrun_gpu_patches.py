"""What verl 0.5.0 needs on a GPU with transformers 4.57, and without flash attention's package.

Loaded by ``mnrun_gpu_shim`` only, while verl is being imported on a machine with a GPU. A site
whose environment fits its trainer has neither file.
"""

from __future__ import annotations

import functools
from typing import Any

import flash_attn
from transformers import PreTrainedModel
from transformers.generation.utils import GenerationMixin

choose_attention = PreTrainedModel.get_correct_attn_implementation
generate = GenerationMixin.generate


def patch() -> None:
    """Make verl train with the packages that are here."""
    GenerationMixin.generate = generate_with_own_positions
    if getattr(flash_attn, "STAND_IN", False):
        PreTrainedModel.get_correct_attn_implementation = choose_sdpa


@functools.wraps(choose_attention)
def choose_sdpa(self: Any, requested: str | None, is_init_check: bool = False) -> str:
    """Answer trainer/fsdp_sft_trainer.py:232 and workers/fsdp_workers.py:254, 1017, 1379.

    They insist on flash attention's kernels.
    """
    available = "sdpa" if requested == "flash_attention_2" else requested
    chosen: str = choose_attention(self, available, is_init_check)
    return chosen


@functools.wraps(generate)
def generate_with_own_positions(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Answer workers/rollout/hf_rollout.py:113, as ``mnrun_cpu_patches`` does."""
    kwargs.pop("position_ids", None)
    return generate(self, *args, **kwargs)
