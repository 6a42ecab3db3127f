"""Runs in the training environment: mnrun's rules of division against verl's own.

Standard input: {"configurations": N, "seed": S}. Makes N configurations of PPO, lets verl judge
each, and prints how many both take, both refuse, only verl refuses (missed) or only mnrun (wrong).
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
from types import SimpleNamespace

from ansible_collections.mnrun.train.plugins.module_utils.trainer.options import (
    _compose,
    _config_folder,
    _getter,
)
from ansible_collections.mnrun.train.plugins.module_utils.trainer.ranks import ppo_faults
from omegaconf import OmegaConf, open_dict
from verl.trainer.ppo.ray_trainer import RayPPOTrainer

PER_GPU = "ppo_micro_batch_size_per_gpu"
CHOICES = {
    "trainer.nnodes": [1, 2, 3],
    "trainer.n_gpus_per_node": [1, 2, 4, 8],
    "data.train_batch_size": [16, 24, 32, 48, 64, 96, 128],
    "algorithm.adv_estimator": ["gae", "grpo"],
    "actor_rollout_ref.model.use_remove_padding": [True, True, False],
    "critic.model.use_remove_padding": [True, True, False],
    "actor_rollout_ref.actor.use_kl_loss": [True, False],
    "actor_rollout_ref.actor.use_dynamic_bsz": [True, False, False, False],
    "actor_rollout_ref.actor.ppo_mini_batch_size": [8, 16, 32, 64],
    f"actor_rollout_ref.actor.{PER_GPU}": [1, 2, 4, 8, None],
    "actor_rollout_ref.actor.ulysses_sequence_parallel_size": [1, 1, 1, 2],
    "actor_rollout_ref.rollout.n": [1, 1, 2, 4, 5],
    "actor_rollout_ref.rollout.tensor_model_parallel_size": [1, 1, 1, 2, 4],
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu": [2, 4, 8, 4, 4, None],
    "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu": [2, 4, None],
    f"critic.{PER_GPU}": [1, 2, 4, 1, 1, None],
    "critic.ulysses_sequence_parallel_size": [1, 1, 1, 2],
}


def configuration(default, rng):
    """One of verl's, with choices of ours."""
    config = OmegaConf.create(OmegaConf.to_container(default, resolve=False))
    with open_dict(config):
        for name, values in CHOICES.items():
            OmegaConf.update(config, name, rng.choice(values))
    return config


def refused_by_verl(config):
    """Whether its trainer or its workers would end on it."""
    actor, gae = config.actor_rollout_ref.actor, config.algorithm.adv_estimator == "gae"
    trainer = SimpleNamespace(
        config=config,
        use_critic=gae,
        use_reference_policy=actor.use_kl_loss or config.algorithm.use_kl_in_reward,
    )
    try:
        with contextlib.redirect_stdout(sys.stderr):
            RayPPOTrainer._validate_config(trainer)
    except (AssertionError, ValueError):
        return True
    gpus = config.trainer.nnodes * config.trainer.n_gpus_per_node
    parts = [(actor, config.actor_rollout_ref.rollout.n)]
    parts += [(config.critic, config.critic.rollout_n)] if gae else []
    fits = all(normalized(part, answers, gpus) for part, answers in parts)
    return not fits or gpus % config.actor_rollout_ref.rollout.tensor_model_parallel_size != 0


def normalized(part, answers, gpus):
    """As verl's workers compute it, which cannot be made without their processes."""
    if gpus % part.ulysses_sequence_parallel_size:
        return False
    mini = part.ppo_mini_batch_size * answers // (gpus // part.ulysses_sequence_parallel_size)
    micro = part[PER_GPU]
    return mini > 0 and (micro is None or (mini % micro == 0 and mini // micro > 0))


def main() -> None:
    """Count."""
    wanted = json.load(sys.stdin)
    rng = random.Random(wanted["seed"])  # noqa: S311 - nothing secret
    default, _config = _compose("ppo", _config_folder(), "ppo_trainer", [], None)
    counts = {"taken": 0, "refused": 0, "missed": 0, "wrong": 0}
    for _ in range(wanted["configurations"]):
        config = configuration(default, rng)
        ours, theirs = bool(ppo_faults(_getter(config))), refused_by_verl(config)
        word = ("taken", "wrong", "missed", "refused")[ours + 2 * theirs]
        counts[word] += 1
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
