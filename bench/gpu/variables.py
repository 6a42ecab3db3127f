"""The variables of the sandbox's inventory that steps add to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

_ALL = Path(__file__).resolve().parents[2] / "inventory" / "sandbox" / "group_vars" / "all"
# What the ranks divide among them, and what may not be more than a rank's share.
_SFT = ("data.train_batch_size", ["data.micro_batch_size_per_gpu"])
_PPO = (
    "actor_rollout_ref.actor.ppo_mini_batch_size",
    [
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu",
        "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu",
        "critic.ppo_micro_batch_size_per_gpu",
    ],
)


def common() -> dict[str, str]:
    """The variables of the sandbox's environment, with or without GPUs."""
    return dict(_read("environment")["toy_variables"])


def variables() -> dict[str, str]:
    """Those on GPUs."""
    return {**common(), **_read("environment")["toy_gpu_variables"]}


def for_ranks(ranks: int) -> dict[str, dict[str, Any]]:
    """The overrides with which the toy's batches can be divided among this many ranks."""
    pairs = (("sft", _SFT), ("ppo", _PPO))
    return {f"{stage}_overrides": _smaller(_read(stage)[f"{stage}_options"], ranks, *names)
            for stage, names in pairs}  # fmt: skip


def _smaller(options: dict[str, Any], ranks: int, batch: str, micro: list[str]) -> dict[str, Any]:
    share = options[batch] // ranks
    return {name: share for name in micro if options[name] > share}


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((_ALL / f"{name}.yml").read_text(encoding="utf-8"))
    return found
