"""The attention that verl wants of a GPU: flash_attn, unless an option names another one."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable, Iterator

from .ranks import has_critic

Get = Callable[[str], Any]

_OWN = "override_config.attn_implementation"


def attention_faults(get: Get, *, ppo: bool) -> Iterator[str]:
    """A missing flash_attn, which shows only when the model is loaded on a GPU."""
    model = "actor_rollout_ref.model" if ppo else "model"
    other = get(f"{model}.{_OWN}") not in (None, "flash_attention_2")
    critic = ppo and has_critic(get) and get(f"critic.model.{_OWN}") in (None, "flash_attention_2")
    if (other and not critic) or not _for_gpus() or find_spec("flash_attn") is not None:
        return
    part = "critic.model" if other else model
    yield (
        f"the training environment has no flash_attn, which the trainer wants of a GPU: install it,"
        f" or set +{part}.{_OWN}=sdpa if this trainer takes that"
    )


def _for_gpus() -> bool:
    """Whether the environment's torch was built for GPUs, and is not made to train on a CPU."""
    if find_spec("mnrun_cpu_shim") is not None:
        return False  # the sandbox's, whose torch may be any that could be had
    found = find_spec("torch")
    version = Path(found.origin).with_name("version.py") if found and found.origin else None
    if version is None or not version.is_file():
        return False
    text = version.read_text(encoding="utf-8")
    return re.search(r"^(cuda|hip)\b[^=\n]*= *['\"]", text, re.MULTILINE) is not None
