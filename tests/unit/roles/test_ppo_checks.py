"""What `mnrun ppo` checks: SFT only where PPO starts from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2.nativetypes import NativeEnvironment

PLAY = Path(__file__).parents[3] / "playbooks" / "ppo.yml"


@pytest.mark.parametrize(("from_sft", "stages"), [(True, ["sft", "ppo"]), (False, ["ppo"])])
def test_the_trainers_that_are_checked(from_sft: bool, stages: list[str]) -> None:
    (play,) = yaml.safe_load(PLAY.read_text(encoding="utf-8"))
    expression = NativeEnvironment().from_string(str(play["vars"]["preflight_trainers"]))
    found: Any = expression.render(
        sft_stage={"trainer": {"stage": "sft"}},
        ppo_stage={"trainer": {"stage": "ppo"}, "starts_from_sft": from_sft},
    )
    assert [one["stage"] for one in found] == stages
