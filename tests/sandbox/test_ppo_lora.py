"""PPO of a LoRA adapter with verl 0.5, through to the merged model. `make trainers` runs this."""

from __future__ import annotations

import json

import pytest

from .conftest import Cluster
from .mnrun import Run, mnrun

RUN = "training/ppo-lora"
OPTIONS = {
    "trainer.total_training_steps": 2,
    "trainer.save_freq": 1,
    "trainer.test_freq": -1,
    "trainer.val_before_train": False,
    "trainer.logger": ["console"],
    "data.train_batch_size": 32,
    "actor_rollout_ref.actor.ppo_mini_batch_size": 32,
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu": 16,
    "critic.ppo_micro_batch_size_per_gpu": 16,
}

pytestmark = [pytest.mark.sandbox, pytest.mark.trainers, pytest.mark.timeout(1800)]


def command(name: str, **more: object) -> Run:
    return mnrun(
        name, mnrun_run_dir=f"~/{RUN}", ppo_model="~/model/Llama-3.2-1B-Instruct",
        ppo_overrides=OPTIONS, ppo_lora_rank=8, ppo_lora_alpha=32, timeout=900, **more,
    )  # fmt: skip


def test_ppo_trains_an_adapter_that_is_merged(sandbox: Cluster) -> None:
    sandbox.run(f"rm -rf {RUN}")
    trained = command("ppo")
    assert trained.code == 0, trained.text
    assert "step 2/2" in trained.text
    again = command("ppo")
    assert (again.code, again.changed) == (0, 0), again.text
    converted = command("convert", convert_stages=["ppo"], convert_score=False)
    assert converted.code == 0, converted.text
    found = json.loads(sandbox.run(f"cat {RUN}/ppo/converted/mnrun_manifest.json"))
    assert found["lora"]["rank"] == 8
    assert found["lora"]["alpha"] == 32
