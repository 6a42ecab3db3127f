"""The trainer's checkpoints: which step is complete, judged from the files alone.

verl writes `global_step_N/` with shards for each rank, in sub-folders for PPO, and at the very
end `latest_checkpointed_iteration.txt`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from ..base.files import names, read_text
from ..model.folder import model_faults
from ..model.weights import torch_fault
from ..record.contract import CheckpointRule

TRACKER = "latest_checkpointed_iteration.txt"
KINDS = ("model", "optim", "extra_state")
_STEP = re.compile(r"global_step_(\d+)")
_SHARD = re.compile(r"(model|optim|extra_state)_world_size_(\d+)_rank_(\d+)\.pt")


class Checkpoint(NamedTuple):
    """A complete checkpoint."""

    step: int
    path: Path
    model: Path  # the folder of its Hugging Face format, which may hold no weights


class Survey(NamedTuple):
    """The newest complete checkpoint of a folder, if any, and what is wrong with newer ones."""

    newest: Checkpoint | None
    faults: list[str]

    @property
    def step(self) -> int:
        """The newest complete step; 0 if there is none."""
        return self.newest.step if self.newest else 0


def survey(rule: CheckpointRule, hf: bool, below: int = 0) -> Survey:
    """Look for the newest complete step, newest first. `hf`: with its Hugging Face format.
    With `below`, only among the steps below that one."""
    faults: list[str] = []
    finished = tracked(rule.path)
    for step in sorted(steps(rule.path), reverse=True):
        if below and step >= below:
            continue
        folder = rule.path / f"global_step_{step}"
        if finished is not None and step > finished:
            faults.append(f"{folder} is incomplete: the trainer had finished step {finished}")
            continue
        wrong = _step_faults(folder, rule.parts)
        model = folder.joinpath(*rule.parts[:1], "huggingface")
        if not wrong and hf:
            wrong = model_faults(model, advice="")
        if not wrong:
            return Survey(Checkpoint(step, folder, model), faults)
        faults += wrong
    return Survey(None, faults)


def steps(folder: Path) -> list[int]:
    """All steps that a folder has anything of, in no order."""
    matches = (_STEP.fullmatch(name) for name in names(folder))
    return [int(match.group(1)) for match in matches if match]


def tracked(folder: Path) -> int | None:
    """The step that the trainer finished last, from its own file; None if that is unusable."""
    text = (read_text(folder / TRACKER) or "").strip()
    return int(text) if re.fullmatch(r"\d{1,12}", text) else None


def _step_faults(folder: Path, parts: list[str]) -> list[str]:
    places = [folder / part for part in parts] or [folder]
    return [fault for place in places for fault in _shard_faults(place)]


def _shard_faults(folder: Path) -> list[str]:
    """Each rank of the world that wrote it has an intact file of each kind."""
    matches = [match for match in map(_SHARD.fullmatch, names(folder)) if match]
    if not matches:
        return [f"{folder} contains no shards"]
    expected = (
        f"{kind}_world_size_{size}_rank_{rank}.pt"
        for size in sorted({int(match.group(2)) for match in matches})
        for kind in KINDS
        for rank in range(size)
    )
    return [fault for name in expected if (fault := torch_fault(folder / name))]
