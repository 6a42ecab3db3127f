"""What verl needs on a GPU without flash attention's package, and 0.5.0 with transformers 4.57.

Loaded by ``mnrun_gpu_shim`` only, while verl is being imported on a machine with a GPU. A site
whose environment fits its trainer has neither file.
"""

from __future__ import annotations

import functools
from importlib.util import find_spec
from typing import Any

from transformers import PreTrainedModel
from transformers.generation.utils import GenerationMixin

choose_attention = PreTrainedModel.get_correct_attn_implementation
generate = GenerationMixin.generate


def patch() -> None:
    """Make verl train with the packages that are here."""
    GenerationMixin.generate = generate_with_own_positions
    if not has_kernels():
        PreTrainedModel.get_correct_attn_implementation = choose_sdpa


def has_kernels() -> bool:
    """Whether flash attention's package is here: the real one, not the sandbox's."""
    if find_spec("flash_attn") is None:
        return False
    import flash_attn

    return not getattr(flash_attn, "STAND_IN", False)


@functools.wraps(choose_attention)
def choose_sdpa(self: Any, requested: str | None, is_init_check: bool = False) -> str:
    """Answer trainer/fsdp_sft_trainer.py:232 and workers/fsdp_workers.py:254, 1017, 1379.

    They insist on flash attention's kernels, as 0.9.1 does in utils/model.py:load_valuehead_model.
    """
    available = "sdpa" if requested == "flash_attention_2" else requested
    chosen: str = choose_attention(self, available, is_init_check)
    return chosen


@functools.wraps(generate)
def generate_with_own_positions(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Answer workers/rollout/hf_rollout.py:113, as ``mnrun_cpu_patches`` does."""
    kwargs.pop("position_ids", None)
    return generate(self, *args, **kwargs)
