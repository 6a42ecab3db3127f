"""Room for checkpoints: how many and how large they will be, and a refusal before the first."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Refused
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    CheckpointRule,
    Record,
)
from ansible_collections.mnrun.train.plugins.module_utils.result import space
from ansible_collections.mnrun.train.plugins.module_utils.result.ownership import take_over
from ansible_collections.mnrun.train.plugins.module_utils.stage.present import plan, present
from ansible_collections.mnrun.train.plugins.module_utils.trainer.estimate import (
    Adapter,
    Saves,
    checkpoint_bytes,
    keep_faults,
    kept,
    kept_by,
    saves,
    tied_head,
    too_few_kept,
    weights,
)

from tests.helpers.stage_run import Run

RECORD = Record("sft", "slurm", "a" * 64, {})
MB = 1_000_000


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system with room for 50 MB."""
    free = SimpleNamespace(f_bavail=50, f_frsize=MB)
    monkeypatch.setattr(os, "statvfs", lambda path: free)


def rule(path: Path, step_bytes: int, kept: int) -> CheckpointRule:
    return CheckpointRule(
        path / "deep" / "checkpoints", [], hf=True, step_bytes=step_bytes, kept=kept
    )


@pytest.mark.parametrize(("step_bytes", "kept"), [(0, 99), (50 * MB, 1), (10 * MB, 5)])
def test_what_fits_may_start(tmp_path: Path, full: None, step_bytes: int, kept: int) -> None:
    space.require_space(rule(tmp_path, step_bytes, kept), RECORD)
    space.require_space(None, RECORD)


def test_what_does_not_fit_is_refused_with_what_to_do(tmp_path: Path, full: None) -> None:
    with pytest.raises(Refused) as error:
        space.require_space(rule(tmp_path, 20 * MB, 3), RECORD)
    for words in ("50 MB left", "3 x 20 MB", "Nothing was submitted", "sft_keep"):
        assert words in error.value.message


def test_checkpoints_that_are_there_have_their_room(tmp_path: Path, full: None) -> None:
    wanted = rule(tmp_path, 20 * MB, 3)
    take_over(wanted, RECORD, 0.0)
    (wanted.path / "global_step_10").mkdir()
    space.require_space(wanted, RECORD)
    with pytest.raises(Refused):
        space.require_space(wanted, Record("sft", "slurm", "b" * 64, {}))


def test_a_submission_without_room_leaves_no_record(run: Run, full: None) -> None:
    stage = run.stage(checkpoints=rule(run.folder, 60 * MB, 1))
    for act in (present, plan):
        with pytest.raises(Refused, match="50 MB left"):
            act(stage)
    assert not run.slurm.jobs
    assert run.stage().ledger.records() == []


SFT = {"trainer": {"save_freq": 20, "total_epochs": 2, "max_ckpt_to_keep": 3}}
PPO: dict[str, Any] = {
    "algorithm": {"adv_estimator": "gae"},
    "actor_rollout_ref": {"actor": {"checkpoint": {"save_contents": ["model", "hf_model"]}}},
    "critic": {"checkpoint": {"save_contents": ["model", "optimizer", "extra"]}},
    "trainer": {"save_freq": 10, "max_actor_ckpt_to_keep": 2, "max_critic_ckpt_to_keep": None},
}


def test_a_tied_head_is_written_a_second_time(tmp_path: Path) -> None:
    """Measured with a model of Llama-3.2-1B's shape: 16.85 and 28.85 bytes for each weight."""
    config: dict[str, Any] = {"vocab_size": 128256, "hidden_size": 2048}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert tied_head(tmp_path) == 0
    (tmp_path / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    found = 1_235_814_400 * 16 + 4 * tied_head(tmp_path)
    assert found == pytest.approx(20_824_277_016, rel=0.001)
    inner = {"tie_word_embeddings": True, "text_config": config}
    (tmp_path / "config.json").write_text(json.dumps(inner))
    assert tied_head(tmp_path) == 128256 * 2048
    for damaged in ("", "[]", '{"tie_word_embeddings": true, "vocab_size": "many"}'):
        (tmp_path / "config.json").write_text(damaged)
        assert tied_head(tmp_path) == 0


def test_a_shared_head_is_written_again_by_the_format_and_by_fsdp_1() -> None:
    hf = {"save_contents": ["model", "optimizer", "hf_model"]}
    of_sft = {**SFT, "trainer": {**SFT["trainer"], "checkpoint": hf}}
    assert saves("sft_trainer", SFT).tied_bytes == 0
    assert saves("sft_trainer", of_sft).tied_bytes == 4
    assert saves("sft_trainer", {**of_sft, "model": {"strategy": "fsdp"}}).tied_bytes == 8
    newer = {**of_sft, "engine": {"strategy": "fsdp"}, "model": {"strategy": None}}
    assert saves("sft_trainer_engine", newer, {"tied": "once"}).tied_bytes == 4
    assert saves("ppo_trainer", PPO).tied_bytes == 4
    actor = {**PPO["actor_rollout_ref"]["actor"], "strategy": "fsdp"}
    assert saves("ppo_trainer", {**PPO, "actor_rollout_ref": {"actor": actor}}).tied_bytes == 8


def test_the_trainers_options_tell_what_is_saved() -> None:
    assert saves("sft_trainer", SFT) == Saves(12, 20, 3, 2, 0)
    assert saves("ppo_trainer", PPO) == Saves(8 + 12, 10, 0, 1, 0, tied_bytes=4)
    alone = {**PPO, "algorithm": {"adv_estimator": "grpo"}}
    assert saves("ppo_trainer", alone).bytes_per_weight == 8
    with pytest.raises(ValueError, match="often"):
        saves("sft_trainer", {"trainer": {"save_freq": "often"}})


LORA = {"lora_rank": 8, "target_modules": "all-linear"}


def test_beside_an_adapter_the_weights_have_no_optimizer() -> None:
    found = saves("sft_trainer", {**SFT, "model": LORA})
    assert found.bytes_per_weight == 4
    assert found.adapters == (Adapter(8, 12, "all-linear"),)
    actor = {**PPO["actor_rollout_ref"], "model": LORA}
    found = saves("ppo_trainer", {**PPO, "actor_rollout_ref": actor})  # the critic has none
    assert (found.bytes_per_weight, found.adapters) == (8 + 12, (Adapter(8, 8, "all-linear"),))
    assert saves("sft_trainer", {**SFT, "model": {"lora_rank": 0}}).adapters == ()


def written(folder: Path, **tensors: list[int]) -> Path:
    """A model in safetensors, without its values."""
    header = {name.replace("__", "."): {"shape": shape} for name, shape in tensors.items()}
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    return folder


@pytest.mark.parametrize(
    ("targets", "sides"),
    [("all-linear", 64 + 64), (None, 128), (["q_proj"], 64), (["lm_head"], 132)],
)
def test_an_adapter_takes_the_sides_of_its_layers(tmp_path: Path, targets: Any, sides: int) -> None:
    model = written(
        tmp_path,
        model__embed_tokens__weight=[100, 32], lm_head__weight=[100, 32],
        model__layers__0__self_attn__q_proj__weight=[32, 32],
        model__layers__0__self_attn__q_proj__bias=[32],
        model__layers__0__mlp__up_proj__weight=[32, 32],
        model__norm__weight=[32],
    )  # fmt: skip
    whole = 2 * 3200 + 2 * 1024 + 64
    found = Saves(4, 20, 3, 2, 0, adapters=(Adapter(8, 12, targets),))
    assert checkpoint_bytes(found, model) == 4 * whole + 12 * 8 * sides
    assert checkpoint_bytes(Saves(12, 1, 1, 1, 0), model) == 12 * whole
    assert checkpoint_bytes(found, tmp_path / "nowhere") == 0


def shaped(folder: Path, layers: int, width: int, inner: int, rows: int, tied: bool) -> Path:
    """A model of Llama's shape, with half as many heads for keys and values."""
    keys = width // 2
    each = {"q": [width, width], "o": [width, width], "k": [keys, width], "v": [keys, width],
            "gate": [inner, width], "up": [inner, width], "down": [width, inner]}  # fmt: skip
    tensors = {"model__embed_tokens__weight": [rows, width], "model__norm__weight": [width]}
    for layer in range(layers):
        tensors[f"l{layer}__n1__weight"] = tensors[f"l{layer}__n2__weight"] = [width]
        tensors |= {f"l{layer}__{name}_proj__weight": shape for name, shape in each.items()}
    if not tied:
        tensors["lm_head__weight"] = [rows, width]
    config = {"vocab_size": rows, "hidden_size": width, "tie_word_embeddings": tied}
    (folder / "config.json").write_text(json.dumps(config))
    return written(folder, **tensors)


def of_verl(strategy: str, lora: int = 0) -> dict[str, Any]:
    """The options of SFT that the cases below were trained with."""
    hf = {"save_contents": ["model", "optimizer", "extra", "hf_model"]}
    model = {"strategy": strategy, "lora_rank": lora, "target_modules": "all-linear"}
    return {"trainer": {"save_freq": 1, "checkpoint": hf}, "model": model}


@pytest.mark.parametrize(
    ("strategy", "tied", "lora", "once", "there"),
    [
        ("fsdp2", True, 0, False, 788_570_376 + 2 * (260_088_920 + 520_175_963)),
        ("fsdp", True, 0, False, 788_570_376 + 2 * (394_308_711 + 520_136_496)),
        ("fsdp2", False, 0, False, 788_570_376 + 2 * (394_306_855 + 788_612_555)),
        ("fsdp2", True, 32, False, 800_113_648 + 2 * (265_909_920 + 11_599_355)),
        ("fsdp2", False, 32, False, 800_113_648 + 2 * (400_127_855 + 11_599_355)),
        ("fsdp", True, 0, True, 520_134_824 + 2 * (394_308_711 + 520_136_496)),
    ],
)
def test_what_was_measured_on_two_gpus(
    tmp_path: Path, strategy: str, tied: bool, lora: int, once: bool, there: int
) -> None:
    """SFT with verl 0.5.0 and, the last one, 0.9.1: the files of weights and of the optimizer."""
    how = {"tied": "once"} if once else {}
    found = saves("sft_trainer", of_verl(strategy, lora), how)
    model = shaped(tmp_path, 4, 1024, 4096, 65_536, tied)
    assert checkpoint_bytes(found, model) == pytest.approx(there, rel=0.005)


@pytest.mark.parametrize(
    ("found", "number"),
    [
        (Saves(12, 20, 0, 2, 0), 3),  # 58 steps: 20, 40 and the last one
        (Saves(12, 20, 2, 2, 0), 2),
        (Saves(12, -1, 0, 2, 0), 1),
        (Saves(12, 1, 0, 9, 5), 5),
        (Saves(12, 10, 0, 1, 0), 3),
    ],
)
def test_how_many_will_lie_there(found: Saves, number: int) -> None:
    assert kept(found, rows=7473, batch=256) == number


def test_one_is_too_few_to_keep() -> None:
    (fault,) = too_few_kept("sft", Saves(12, 1, 1, 1, 0), 512, 256)
    assert "keep 2 or more" in fault


@pytest.mark.parametrize(
    "found",
    [
        Saves(12, 1, 2, 1, 0),
        Saves(12, 1, 0, 1, 0),
        Saves(12, -1, 1, 9, 0),  # only the last step is saved
        Saves(12, 50, 1, 1, 50),
        Saves(12, 1, 1, 1, 0, each_epoch=True),  # one epoch
        Saves(12, 1, 1, 9, 0, deletes_first=False),
    ],
)
def test_one_is_enough_where_none_is_deleted_before_the_next(found: Saves) -> None:
    assert too_few_kept("sft", found, 512, 256) == []


def test_a_checkpoint_at_the_end_of_each_epoch() -> None:
    config = {"trainer": {"save_freq": "after_each_epoch", "test_freq": "after_each_epoch"}}
    found = saves("sft_trainer_engine", config, {"each_epoch": "after_each_epoch"})
    assert (found.each_epoch, found.validates > 0) == (True, True)
    several = found._replace(epochs=3)
    assert kept(several, rows=7473, batch=256) == 3
    assert kept_by({"newest": 1, "every": 58}, several, rows=7473, batch=256) == 3
    assert len(too_few_kept("sft", several._replace(keep=1), 7473, 256)) == 1
    with pytest.raises(ValueError, match="after_each_epoch"):
        saves("sft_trainer", config)  # of a trainer that does not know it


@pytest.mark.parametrize(
    ("keep", "number"),
    [
        ({"newest": 2}, 3),  # nothing goes before a newer one is finished
        ({"newest": 2, "best": True}, 4),
        ({"best": True, "every": 40}, 11),  # 4, and 7 of steps 40, 80, … 280
        ({"newest": 1, "every": 30}, 7),  # two stay in any case, and each sixtieth of those saved
        ({"newest": 99}, 15),
    ],
)
def test_how_many_will_lie_there_by_our_own_variable(keep: dict[str, Any], number: int) -> None:
    assert kept_by(keep, Saves(12, 20, 0, 10, 0, 20), rows=7473, batch=256) == number


def test_what_cannot_be_kept_is_a_fault() -> None:
    saves = Saves(12, 20, 0, 10, 0, 20)
    assert keep_faults("sft", {}, saves) == []
    assert keep_faults("sft", {"newest": 1, "best": True, "every": 3}, saves) == []
    (fault,) = keep_faults("sft", {"newest": 0}, saves)
    assert "sft_keep: newest must be 1 or more" in fault
    (fault,) = keep_faults("ppo", {"best": True}, saves._replace(validates=-1))
    assert "ppo_keep" in fault
    assert "trainer.test_freq" in fault
    (fault,) = keep_faults("ppo", {"every": -1}, saves)
    assert "every" in fault


def test_weights_are_counted_by_their_shapes(tmp_path: Path) -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]},
        "b": {"dtype": "F32", "shape": [], "data_offsets": [48, 52]},
    }
    text = json.dumps(header).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    assert weights(tmp_path) == 13
    (tmp_path / "model.safetensors").write_bytes(b"none")
    assert weights(tmp_path) == 0
    assert weights(tmp_path / "nowhere") == 0
