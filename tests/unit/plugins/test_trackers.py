"""What trainers log to: one variable chooses, the user's own options win."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.mnrun.train.plugins.filter.trainer_stage import trainer_stage
from ansible_collections.mnrun.train.plugins.plugin_utils.profiles import SHIPPED, profile
from ansible_collections.mnrun.train.plugins.plugin_utils.trackers import NAMES
from ansible_collections.mnrun.train.plugins.plugin_utils.trainer_choice import (
    overruled,
    trackers,
    trainer_faults,
)

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples" / "trainers"
STAGES = [
    (path.stem, stage)
    for folder in (SHIPPED, EXAMPLES)
    for path in sorted(folder.glob("*.yml"))
    for stage in ("sft", "ppo")
    if stage in profile(path.stem, [folder, SHIPPED])
]


class AsItIs:
    """A templar whose variables hold no templates."""

    @staticmethod
    def template(value: Any) -> Any:
        return value


def logs(name: str, stage: str, tracker: str, **given: Any) -> dict[str, Any]:
    own = profile(name, [EXAMPLES, SHIPPED])
    values = {"output": "/run/it/checkpoints"}
    return trainer_stage(own, stage, values, given=given, tracker=tracker)


@pytest.mark.parametrize(("name", "stage"), STAGES)
def test_each_profile_says_how_its_trackers_are_chosen(name: str, stage: str) -> None:
    known = profile(name, [EXAMPLES, SHIPPED])[stage]["trackers"]
    assert {"none", "wandb"} <= set(known) <= set(NAMES)
    before = logs(name, stage, "")
    for one in known:
        found = logs(name, stage, one)
        assert found["trackers"] == [one] * (one != "none")
        assert found["decisive"] == before["decisive"]


def test_several_are_joined_and_files_go_into_the_stage_s_folder() -> None:
    found = logs("verl-0.9", "sft", "wandb, trackio,tensorboard")
    assert found["all"]["trainer.logger"] == ["console", "wandb", "trackio", "tensorboard"]
    assert found["trackers"] == ["wandb", "tensorboard", "trackio"]
    assert found["variables"] == {
        "WANDB_DIR": "/run/it", "TENSORBOARD_DIR": "/run/it/tensorboard",
        "TENSORBOARD_LOGGING_DIR": "/run/it/tensorboard", "TRACKIO_DIR": "/run/it/trackio",
    }  # fmt: skip
    assert logs("verl-0.9", "sft", "none")["variables"] == {}


def test_a_user_s_own_logger_wins() -> None:
    found = logs("verl-0.5", "sft", "wandb", **{"trainer.logger": ["console", "tensorboard"]})
    assert found["trackers"] == ["tensorboard"]
    assert logs("verl-0.5", "ppo", "none", **{"trainer.logger": "wandb"})["trackers"] == ["wandb"]
    assert logs("nemo-rl", "ppo", "wandb", **{"logger.wandb_enabled": False})["trackers"] == []
    # Without a choice, the options count, and what the trainer does without any.
    assert logs("verl-0.5", "ppo", "")["trackers"] == ["wandb"]
    assert logs("trl", "sft", "")["trackers"] == []


def test_a_profile_of_one_s_own_may_name_its_loggers_only() -> None:
    own = {
        "launcher": "srun", "checkpoint": {"folder": "{step}"}, "log": {},
        "loggers": {"option": "to", "default": ["wandb"]},
    }  # fmt: skip
    mine = {"name": "mine", "sft": own}
    assert trainer_stage(mine, "sft", {})["trackers"] == ["wandb"]
    assert trainer_stage(mine, "sft", {}, given={"to": ["x"]})["trackers"] == []
    with pytest.raises(AnsibleFilterError, match="it has none to choose"):
        trainer_stage(mine, "sft", {}, tracker="wandb")


@pytest.mark.parametrize(
    ("tracker", "word"),
    [
        ("wandbb", "wandbb, which the trainer profile of sft lacks; it has none, wandb,"),
        ("trackio", "mnrun_tracker is trackio, which the trainer profile of"),
        ("none,wandb", "none excludes the others"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(tracker: str, word: str) -> None:
    found = trainer_faults({"mnrun_tracker": tracker}, AsItIs(), ["sft", "ppo"])
    assert found
    assert word in found[0]


def test_where_options_overrule_the_variable_that_is_said() -> None:
    known: dict[str, Any] = {
        "mnrun_tracker": "none",
        "sft_options": {"trainer.logger": ["console", "wandb"]},
        "ppo_kept": {"trainer.logger": ["console"]},
    }
    assert trackers(known, AsItIs()) == {"sft": ["wandb"], "ppo": []}
    assert [*overruled(known, AsItIs(), ["sft", "ppo"])] == [
        "mnrun_tracker has no effect on sft, whose options set trainer.logger: it logs to wandb"
    ]
    assert not [*overruled({**known, "mnrun_tracker": ""}, AsItIs(), ["sft", "ppo"])]
    assert not [*overruled({**known, "mnrun_tracker": "wandb"}, AsItIs(), ["sft"])]
    # What is wrong with the choice is reported elsewhere.
    assert trackers({"mnrun_tracker": "x"}, AsItIs()) == {"sft": [], "ppo": []}


def test_what_a_user_gave_decides_as_in_a_profile_without_trackers() -> None:
    own = profile("slime", [EXAMPLES, SHIPPED])
    without = {**own, "ppo": {**own["ppo"], "trackers": {}}}
    values = {"output": "/run/it/checkpoints"}
    given = {"use-tensorboard": True}
    both = [trainer_stage(one, "ppo", values, given=given)["decisive"] for one in (own, without)]
    assert both[0] == both[1]
    assert "use-tensorboard" in both[0]


def test_a_folder_that_the_site_exports_counts_before_the_stage_s() -> None:
    own = profile("verl-0.9", [EXAMPLES, SHIPPED])
    values = {"output": "/run/it/checkpoints"}
    found = trainer_stage(own, "sft", values, tracker="wandb,trackio",
                          exported={"WANDB_DIR": "/scratch/me"})  # fmt: skip
    assert found["variables"] == {"TRACKIO_DIR": "/run/it/trackio"}


@pytest.mark.parametrize("stage", ["sft", "ppo"])
def test_openrlhf_writes_tensorboard_only_without_wandb(stage: str) -> None:
    together, *alone = [
        any("only without W&B" in fault for fault in logs("openrlhf", stage, chosen)["faults"])
        for chosen in ("wandb,tensorboard", "wandb", "tensorboard")
    ]
    assert (together, alone) == (True, [False, False])
