"""What `mnrun preflight` says when all is well."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.mnrun.train.plugins.module_utils.preflight.summary import summary
from ansible_collections.mnrun.train.plugins.module_utils.trainer.estimate import Saves
from ansible_collections.mnrun.train.plugins.module_utils.trainer.reads import Reads

from tests.helpers.models import safetensors

NOTHING = {"model": "", "other_models": [""], "train_files": [], "test_files": [], "slurm": []}


def test_model_rows_options_requests_and_checkpoints_are_named(tmp_path: Path) -> None:
    safetensors(tmp_path / "model.safetensors")
    train = Path("/d/a"), Path("/d/b")
    params = {
        "model": str(tmp_path),
        "other_models": [str(tmp_path), ""],
        "train_files": ["/d/a", "/d/b"],
        "test_files": ["/d/t"],
        "slurm": [{"stage": stage} for stage in ("sft", "ray", "convert")],
    }
    sft = Reads("sft", [*train], [Path("/d/t")], [], 64, Saves(16, 10, 3, 5, 0))
    ppo = Reads("ppo", [*train], [Path("/d/t")], [], 128, Saves(28, 10, 0, 1, 20))
    space = {"sft": {"step_bytes": 17_002_496, "kept": 3}, "ppo": {"step_bytes": 0, "kept": 2}}
    assert summary(params, [sft, ppo], {"/d/a": 2000, "/d/b": 48, "/d/t": 128}, space) == [
        (
            f"Checked: the model {tmp_path} (4 weights), 2,048 rows to train on (2 files), 128 rows"
            " to validate on (1 file), the options of sft and ppo, the Slurm requests of sft, ray"
            " and convert."
        ),
        "sft: 160 steps of 64 rows; a checkpoint takes about 17 MB, at most 3 at a time.",
        "ppo: 20 steps of 128 rows.",
    ]


def test_what_was_not_asked_for_is_not_named() -> None:
    params = {**NOTHING, "slurm": [{"stage": "sft"}]}
    assert summary(params, [], {}, {}) == ["Checked: the Slurm requests of sft."]


def test_a_trainer_that_does_not_resume_is_named_beforehand() -> None:
    params = {**NOTHING, "trainers": [{"stage": "sft", "resumes": False}]}
    reads = Reads("sft", [], [], [], 0, Saves(0, 0, 0, 1, 0))
    space = {"sft": {"step_bytes": 0, "kept": 1}}
    assert summary(params, [reads], {}, space)[-1] == (
        "sft: the trainer does not resume: what is cut off starts over at step 0."
    )
