"""The trainer's checkpoints: which step is complete, judged from the files alone.

verl writes a folder for each step with shards for each rank, in sub-folders for PPO, and at the
very end its tracker (words.py).
"""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import NamedTuple

from ..base.presence import is_dir, names, read_text
from ..model.identity import files_identity
from ..record.contract import CheckpointRule
from .whole import step_faults
from .words import HF_FOLDER, MODEL_SHARDS, TRACKER, step_folder, step_of, tracked_step


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
        wrong = step_faults(folder, rule.parts, hf)
        if not wrong:
            model = folder.joinpath(*rule.parts[:1], HF_FOLDER)
            return Survey(Checkpoint(step, folder, model), faults)
        faults += wrong
    return Survey(None, faults)


def steps(folder: Path) -> list[int]:
    """All steps that a folder has anything of, in no order. Raises OSError."""
    return [step for step in map(step_of, names(folder)) if step is not None]


def count(rule: CheckpointRule) -> int:
    """How many checkpoints there are. When verl deletes one, it leaves the step's folder."""
    folders = [rule.path / step_folder(step) for step in steps(rule.path)]
    return len([step for step in folders if all(is_dir(step / part) for part in rule.parts)])


def weights_identity(model: Path) -> str:
    """SHA-256 (hexadecimal) of a result's weights: in Hugging Face format in the folder `model` if
    they exist, otherwise the ranks' shards beside it. Raises OSError."""
    return files_identity(_fitting(model, "*.safetensors") or _fitting(model.parent, MODEL_SHARDS))


def _fitting(folder: Path, pattern: str) -> list[Path]:
    return [folder / name for name in fnmatch.filter(names(folder), pattern)]


def tracked(folder: Path) -> int | None:
    """The step that the trainer finished last, from its own file; None if that is unusable."""
    return tracked_step(read_text(folder / TRACKER))
