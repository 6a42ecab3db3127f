"""What to change in the trainer's options, for the advice that a failure comes with."""

from __future__ import annotations

LESS_GPU_MEMORY = (
    "Reduce the micro batch per GPU, the maximum sequence length, or the rollout's share of the "
    "memory (rollout.gpu_memory_utilization)."
)
KEEP_FEWER = "keep fewer checkpoints (trainer.max_ckpt_to_keep)"
KEPT = (
    "2 or more, trainer.max_ckpt_to_keep, for PPO max_actor_ckpt_to_keep and "
    "max_critic_ckpt_to_keep"
)
SAVE_MORE_OFTEN = "save more often (trainer.save_freq)"
SAVE_LESS_OFTEN = "save less often (trainer.save_freq)"
RESUMED_WITHOUT_A_STEP = (
    "verl 0.5 silently makes no step when it resumes from a checkpoint at the end of an epoch. Run "
    "the same command again: it skips that checkpoint. To avoid this, choose a trainer.save_freq "
    "that does not coincide with the end of an epoch."
)
