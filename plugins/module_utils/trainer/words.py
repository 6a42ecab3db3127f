"""verl's words, each written once: names of its files and folders, and lines of its log.

What its lines look like is in log_reader.py. Standard library only and no relative imports: jobs
carry a copy of this file beside keep.py.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# What a training environment has to hold.
PACKAGES = ("verl", "torch", "ray")

# A folder of checkpoints.
TRACKER = "latest_checkpointed_iteration.txt"  # the step that the trainer finished last
HF_FOLDER = "huggingface"  # in a step or a part of it
SHARD_KINDS = ("model", "optim", "extra_state")
SHARD = re.compile(
    r"(model|optim|extra_state)_world_size_([1-9][0-9]{0,6})_rank_(0|[1-9][0-9]{0,6})\.pt"
)
MODEL_SHARDS = "model_world_size_*.pt"
_NUMBER = re.compile(r"[0-9]{1,12}")
_STEP_FOLDER = re.compile(r"global_step_(0|[1-9][0-9]{0,11})")  # exactly as the trainer writes it


class Metric(NamedTuple):
    """A metric that people look at."""

    pattern: str  # of its name in the log
    lower: bool = False  # the best value is the lowest


# By the names that mnrun has for them, in the order in which they are shown.
METRICS = {
    "loss": Metric("train/loss", lower=True),
    "val_loss": Metric("val/loss", lower=True),
    "reward": Metric("critic/score/mean"),
    "val_reward": Metric(r"val-(?:core|aux)/[^\s:]*reward/mean@1"),
}


def step_folder(step: int) -> str:
    """The name of a step's folder."""
    return f"global_step_{step}"


def step_of(name: str) -> int | None:
    """The step whose folder has this name; None for another folder."""
    match = _STEP_FOLDER.fullmatch(name)
    return int(match.group(1)) if match else None


def tracked_step(text: str | None) -> int | None:
    """The step in the text of a tracker; None for any other text, or without one."""
    match = _NUMBER.fullmatch((text or "").strip())
    return int(match.group()) if match else None
