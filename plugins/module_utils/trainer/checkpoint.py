"""The trainer's checkpoints: which step is complete, judged from the files alone.

verl writes a folder for each step with shards for each rank, in sub-folders for PPO, and at the
very end its tracker (words.py).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from ..base.files import names, read_text
from ..model.folder import model_faults
from ..model.identity import files_identity
from ..model.weights import torch_fault
from ..record.contract import CheckpointRule
from .words import HF_FOLDER, MODEL_SHARDS, SHARD, SHARD_KINDS, TRACKER, step_folder, step_of


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
        folder = rule.path / step_folder(step)
        if finished is not None and step > finished:
            faults.append(f"{folder} is incomplete: the trainer had finished step {finished}")
            continue
        wrong = _step_faults(folder, rule.parts)
        model = folder.joinpath(*rule.parts[:1], HF_FOLDER)
        if not wrong and hf:
            wrong = model_faults(model, advice="")
        if not wrong:
            return Survey(Checkpoint(step, folder, model), faults)
        faults += wrong
    return Survey(None, faults)


def steps(folder: Path) -> list[int]:
    """All steps that a folder has anything of, in no order."""
    return [step for step in map(step_of, names(folder)) if step is not None]


def count(rule: CheckpointRule) -> int:
    """How many checkpoints there are. When verl deletes one, it leaves the step's folder."""
    folders = [rule.path / step_folder(step) for step in steps(rule.path)]
    return len([step for step in folders if all((step / part).is_dir() for part in rule.parts)])


def weights_identity(model: Path) -> str:
    """SHA-256 (hexadecimal) of a result's weights: in Hugging Face format in the folder `model` if
    they exist, otherwise the ranks' shards beside it. Raises OSError."""
    files = sorted(model.glob("*.safetensors")) or sorted(model.parent.glob(MODEL_SHARDS))
    return files_identity(files)


def tracked(folder: Path) -> int | None:
    """The step that the trainer finished last, from its own file; None if that is unusable."""
    text = (read_text(folder / TRACKER) or "").strip()
    return int(text) if re.fullmatch(r"\d{1,12}", text) else None


def _step_faults(folder: Path, parts: list[str]) -> list[str]:
    places = [folder / part for part in parts] or [folder]
    return [fault for place in places for fault in _shard_faults(place)]


def _shard_faults(folder: Path) -> list[str]:
    """Each rank of the world that wrote it has an intact file of each kind."""
    matches = [match for match in map(SHARD.fullmatch, names(folder)) if match]
    if not matches:
        return [f"{folder} contains no shards"]
    expected = (
        f"{kind}_world_size_{size}_rank_{rank}.pt"
        for size in sorted({int(match.group(2)) for match in matches})
        for kind in SHARD_KINDS
        for rank in range(size)
    )
    return [fault for name in expected if (fault := torch_fault(folder / name))]
