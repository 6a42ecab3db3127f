"""The attention that verl wants of a GPU: flash_attn, unless an option names another one."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Callable, Iterator

from ..environment.torch_gpus import built_for_gpus
from .ranks import has_critic

Get = Callable[[str], Any]

_OWN = "override_config.attn_implementation"


def attention_faults(get: Get, *, ppo: bool) -> Iterator[str]:
    """A missing flash_attn, which shows only when the model is loaded on a GPU."""
    model = "actor_rollout_ref.model" if ppo else "model"
    other = get(f"{model}.{_OWN}") not in (None, "flash_attention_2")
    critic = ppo and has_critic(get) and get(f"critic.model.{_OWN}") in (None, "flash_attention_2")
    if (other and not critic) or not built_for_gpus() or find_spec("flash_attn") is not None:
        return
    part = "critic.model" if other else model
    yield (
        f"the training environment has no flash_attn, which the trainer wants of a GPU: install it,"
        f" or set +{part}.{_OWN}=sdpa if this trainer takes that"
    )
