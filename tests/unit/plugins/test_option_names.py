"""The options that profiles name, against those that the trainers' own programs have.

The lists in `options` are from the packages as PyPI has them: the arguments of
openrlhf.cli.train_sft and openrlhf.cli.train_ppo_ray, slime's own arguments (without Megatron's),
NeMo-RL's configuration for GRPO, the fields of prime-rl's SFTConfig, those of TRL's SFTConfig,
GRPOConfig, ModelConfig and DatasetMixtureConfig.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.plugin_utils.profiles import SHIPPED, profile

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "docs/examples/trainers"
LISTS = Path(__file__).parent / "options"
# Of trl_script.py itself.
OURS = {
    "trl": {"train_files", "test_files"},
    "trl-grpo": {"trainer", "train_files", "test_files"},
}
# Hydra's mark of what may be new in a configuration, as what a data set's own form has there is.
ADDED = "++"


def named(stage: dict[str, Any]) -> Iterator[str]:
    """Every option that a stage of a profile names."""
    for key in ("owned", "defaults", "keep_all"):
        yield from (name for name, value in (stage.get(key) or {}).items() if value is not None)
    for key in ("cosmetic", "joined"):
        yield from stage.get(key) or ()
    for key in ("save_every", "last_step"):
        yield from [stage[key]] if stage.get(key) else []
    lora = stage.get("lora") or {}
    yield from (lora[key] for key in ("rank", "alpha") if key in lora)
    for one in (stage.get("algorithms") or {}).values():
        yield from one
    for one in stage.get("refuses") or ():
        yield from (condition["option"] for condition in one["when"])


@pytest.mark.parametrize(
    ("name", "stage", "release"),
    [
        ("openrlhf", "sft", "openrlhf-0.11.2"),
        ("openrlhf", "ppo", "openrlhf-0.11.2.ppo"),
        ("nemo-rl", "ppo", "nemo-rl-0.7"),
        ("slime", "ppo", "slime-0.3.1"),
        ("prime-rl", "sft", "prime-rl-0.8"),
        ("trl", "sft", "trl-1.16.0"),
        ("trl-cli", "sft", "trl-1.16.0"),
        ("trl-grpo", "sft", "trl-1.16.0.grpo"),
    ],
)
def test_the_trainer_has_each_option_that_its_profile_names(
    name: str, stage: str, release: str
) -> None:
    there = set((LISTS / f"{release}.txt").read_text().split())
    own = profile(name, [EXAMPLES, SHIPPED])[stage]
    known = {one for one in named(own) if not one.startswith(ADDED)}
    assert known - OURS.get(name, set()) <= there
