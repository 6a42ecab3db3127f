"""verl's rules of division, on small copies of its configurations."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.trainer.ranks import (
    ppo_faults,
    sft_faults,
)

SFT = {
    "data.train_batch_size": 256, "data.micro_batch_size_per_gpu": 4,
    "ulysses_sequence_parallel_size": 1, "use_remove_padding": False,
}  # fmt: skip
ACTOR, ROLLOUT, REF = (f"actor_rollout_ref.{part}" for part in ("actor", "rollout", "ref"))
PPO = {
    "trainer.nnodes": 2, "trainer.n_gpus_per_node": 8,
    "data.train_batch_size": 256, "algorithm.adv_estimator": "gae",
    "algorithm.use_kl_in_reward": False,
    "actor_rollout_ref.model.use_remove_padding": False, "critic.model.use_remove_padding": False,
    f"{ACTOR}.strategy": "fsdp", f"{ACTOR}.use_kl_loss": False,
    f"{ACTOR}.ppo_mini_batch_size": 64, f"{ACTOR}.ppo_micro_batch_size": None,
    f"{ACTOR}.ppo_micro_batch_size_per_gpu": 4, f"{ACTOR}.use_dynamic_bsz": False,
    f"{ACTOR}.ulysses_sequence_parallel_size": 1, f"{ACTOR}.fsdp_config.fsdp_size": -1,
    f"{ROLLOUT}.n": 1, f"{ROLLOUT}.tensor_model_parallel_size": 1,
    f"{ROLLOUT}.log_prob_micro_batch_size": None,
    f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu": 8,
    f"{ROLLOUT}.log_prob_use_dynamic_bsz": False,
    f"{REF}.log_prob_micro_batch_size": None, f"{REF}.log_prob_micro_batch_size_per_gpu": 4,
    f"{REF}.log_prob_use_dynamic_bsz": False,
    "critic.ppo_mini_batch_size": 64, "critic.ppo_micro_batch_size": None,
    "critic.ppo_micro_batch_size_per_gpu": 4, "critic.use_dynamic_bsz": False,
    "critic.rollout_n": 1, "critic.ulysses_sequence_parallel_size": 1,
    "reward_model.enable": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("ranks", "changed", "words"),
    [
        (16, {}, []),
        (0, {"data.train_batch_size": 7}, []),  # not known how many
        (8, {"data.train_batch_size": 32, "data.micro_batch_size_per_gpu": 16},
         ["the 4 rows that a GPU gets", "1 or 2 or 4"]),
        (12, {}, ["spread over 12 GPUs", "a multiple of 12"]),
        (8, {"data.micro_batch_size_per_gpu": 0}, ["must be 1 or more"]),
        (8, {"ulysses_sequence_parallel_size": 3}, ["does not divide the 8 GPUs"]),
        (8, {"ulysses_sequence_parallel_size": 2}, ["use_remove_padding=true"]),
        (8, {"ulysses_sequence_parallel_size": 2, "use_remove_padding": True,
             "data.train_batch_size": 4, "data.micro_batch_size_per_gpu": 1}, []),
        (8, {"ulysses_sequence_parallel_size": 2, "use_remove_padding": True,
             "data.train_batch_size": 6}, ["groups of 2", "a multiple of 4"]),
    ],
)  # fmt: skip
def test_sft(ranks: int, changed: dict[str, Any], words: list[str]) -> None:
    check(sft_faults({**SFT, **changed}.get, ranks), words)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, []),
        ({"trainer.nnodes": None}, []),
        ({"data.train_batch_size": 100}, ["is 100, which cannot be spread over 16 GPUs"]),
        ({"data.train_batch_size": 72, f"{ROLLOUT}.n": 4, "critic.rollout_n": 4}, []),
        ({"data.train_batch_size": 70, f"{ROLLOUT}.n": 4, "critic.rollout_n": 4},
         ["rollout.n is 280", "a multiple of 16"]),
        ({"data.train_batch_size": 32}, ["ppo_mini_batch_size is 64, more than the 32 rows"]),
        ({f"{ACTOR}.ppo_mini_batch_size": 8}, ["fewer than one for each of 16 GPUs"]),
        ({f"{ACTOR}.ppo_mini_batch_size": 8, "critic.ppo_mini_batch_size": 8,
          f"{ACTOR}.ulysses_sequence_parallel_size": 2,
          "actor_rollout_ref.model.use_remove_padding": True,
          f"{ACTOR}.ppo_micro_batch_size_per_gpu": 1},
         ["critic.ppo_mini_batch_size", "fewer than one for each of 16 GPUs"]),
        ({f"{ACTOR}.ppo_micro_batch_size_per_gpu": 3}, ["actor.ppo_micro", "the 4 rows"]),
        ({"critic.ppo_micro_batch_size_per_gpu": 8}, ["critic.ppo_micro", "the 4 rows"]),
        ({"critic.ppo_micro_batch_size_per_gpu": 8, "algorithm.adv_estimator": "grpo"}, []),
        ({f"{ROLLOUT}.tensor_model_parallel_size": 3}, ["is 3, which does not divide the 16"]),
        ({f"{ROLLOUT}.tensor_model_parallel_size": 8, f"{ROLLOUT}.data_parallel_size": 4},
         ["data_parallel_size is 32"]),
        ({f"{ACTOR}.ulysses_sequence_parallel_size": 5}, ["does not divide the 16 GPUs"]),
        ({f"{ACTOR}.ulysses_sequence_parallel_size": 2}, ["needs actor_rollout_ref.model.use_rem"]),
        ({f"{ACTOR}.fsdp_config.fsdp_size": 5}, ["fsdp_size is 5"]),
        ({f"{ACTOR}.ppo_micro_batch_size_per_gpu": None},
         ["actor.ppo_micro_batch_size_per_gpu is not set"]),
        ({f"{ACTOR}.ppo_micro_batch_size": 64}, ["are both set"]),
        ({f"{REF}.log_prob_micro_batch_size_per_gpu": None}, []),
        ({f"{REF}.log_prob_micro_batch_size_per_gpu": None, f"{ACTOR}.use_kl_loss": True},
         ["ref.log_prob_micro_batch_size_per_gpu is not set"]),
        ({f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu": 0}, ["must be 1 or more"]),
        ({"critic.ppo_micro_batch_size_per_gpu": None}, ["critic.ppo_micro"]),
        ({"reward_model.enable": True, "reward_model.use_dynamic_bsz": False},
         ["reward_model.micro_batch_size_per_gpu is not set"]),
        ({f"{ROLLOUT}.n": 0}, ["must be 1 or more"]),
        ({f"{ACTOR}.strategy": "megatron", "data.train_batch_size": 3}, []),
    ],
)  # fmt: skip
def test_ppo(changed: dict[str, Any], words: list[str]) -> None:
    check(ppo_faults({**PPO, **changed}.get), words)


def check(faults: list[str], words: list[str]) -> None:
    assert len(faults) == bool(words), faults
    assert all(word in faults[0] for word in words), faults
