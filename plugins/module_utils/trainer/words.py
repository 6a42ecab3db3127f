"""verl's words, each written once: names of its files and folders, and lines of its log.

Standard library only and no relative imports: jobs carry a copy of this file beside keep.py.
"""

from __future__ import annotations

import re
from typing import Dict, Iterator, NamedTuple, Optional, Tuple

# What a training environment has to hold.
PACKAGES = ("verl", "torch", "ray")

# A folder of checkpoints.
TRACKER = "latest_checkpointed_iteration.txt"  # the step that the trainer finished last
HF_FOLDER = "huggingface"  # in a step or a part of it
SHARD_KINDS = ("model", "optim", "extra_state")
SHARD = re.compile(r"(model|optim|extra_state)_world_size_(\d+)_rank_(\d+)\.pt")
MODEL_SHARDS = "model_world_size_*.pt"
_STEP_FOLDER = re.compile(r"global_step_(\d{1,12})")

# A log. `step:12 - train/loss:1.93 - train/lr(1e-3):2.9` stands for each step, perhaps behind a
# progress bar or the name of a process.
_STEP_LINE = re.compile(r"\bstep:(\d{1,9}) - ")
STEP_LINE_FOR_GREP = r"step:[0-9]\{1,9\} - "  # the same for grep, with no digits but the step's
NUMBER = r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_METRIC = re.compile(rf"^([A-Za-z][^\s:]*):(?:np\.\w+\()?({NUMBER})\)?$")


class Metric(NamedTuple):
    """A metric that people look at."""

    pattern: str  # of its name in the log
    lower: bool = False  # the best value is the lowest


# By the names that mnrun has for them, in the order in which they are shown.
METRICS = {
    "loss": Metric("train/loss", lower=True),
    "val_loss": Metric("val/loss", lower=True),
    "reward": Metric("critic/score/mean"),
    "val_reward": Metric("val-(?:core|aux)/.*reward/mean@1"),
}


def step_folder(step: int) -> str:
    """The name of a step's folder."""
    return f"global_step_{step}"


def step_of(name: str) -> Optional[int]:  # noqa: UP045 - Python 3.8
    """The step whose folder has this name; None for another folder."""
    match = _STEP_FOLDER.fullmatch(name)
    return int(match.group(1)) if match else None


def step_line(line: str) -> Optional[Tuple[int, Dict[str, float]]]:  # noqa: UP006, UP045 - Python 3.8
    """The step of a line and all its numbers by name; None for a line of another kind."""
    match = _STEP_LINE.search(line)
    if not match:
        return None
    return int(match.group(1)), dict(_values(line[match.end() :]))


def _values(text: str) -> Iterator[Tuple[str, float]]:  # noqa: UP006 - Python 3.8
    for piece in text.split(" - "):
        pair = _METRIC.match(piece.strip())
        if pair:
            yield pair.group(1), float(pair.group(2))


def metric(name: str, values: Dict[str, float]) -> Optional[float]:  # noqa: UP006, UP045 - Python 3.8
    """One of METRICS among the numbers of a step's line; of several data sets, the mean."""
    pattern = re.compile(METRICS[name].pattern)
    found = [value for key, value in values.items() if pattern.fullmatch(key)]
    return sum(found) / len(found) if found else None
