"""The options that profiles name, against those that the trainers' own programs have.

The lists in `options` are from the packages as PyPI has them: the arguments of
openrlhf.cli.train_sft, the fields of TRL's SFTConfig,
ModelConfig and DatasetMixtureConfig.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.plugin_utils.profiles import SHIPPED, profile

LISTS = Path(__file__).parent / "options"
# Of trl_script.py itself.
OURS = {"trl": {"train_files", "test_files"}}


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
    for one in stage.get("refuses") or ():
        yield from (condition["option"] for condition in one["when"])


@pytest.mark.parametrize(
    ("name", "release"),
    [("openrlhf", "openrlhf-0.11.2"), ("trl", "trl-1.16.0"), ("trl-cli", "trl-1.16.0")],
)
def test_the_trainer_has_each_option_that_its_profile_names(name: str, release: str) -> None:
    there = set((LISTS / f"{release}.txt").read_text().split())
    assert set(named(profile(name, [SHIPPED])["sft"])) - OURS.get(name, set()) <= there
