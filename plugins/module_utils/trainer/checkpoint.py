"""The trainer's checkpoints: which step is complete, judged from the files alone.

A trainer writes a folder for each step, perhaps with sub-folders for its parts (PPO's actor and
critic), and perhaps a tracker at the very end (words.py).
"""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Any, Mapping, NamedTuple

from ..base.presence import is_dir, names, read_text
from ..model.identity import files_identity
from ..record.contract import CheckpointRule
from .whole import step_faults
from .words import VERL, tracked_step, words


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
    form, finished = words(rule.trainer), tracked(rule)
    for step in sorted(steps(rule), reverse=True):
        if below and step >= below:
            continue
        folder = rule.path / form.step_folder(step)
        if finished is not None and step > finished:
            faults.append(f"{folder} is incomplete: the trainer had finished step {finished}")
            continue
        wrong = step_faults(folder, rule.parts, hf, form)
        if not wrong:
            model = folder.joinpath(*rule.parts[:1], form.huggingface)
            return Survey(Checkpoint(step, folder, model), faults)
        faults += wrong
    return Survey(None, faults)


def steps(rule: CheckpointRule) -> list[int]:
    """All steps that the folder has anything of, in no order. Raises OSError."""
    step_of = words(rule.trainer).step_of
    return [step for step in map(step_of, names(rule.path)) if step is not None]


def count(rule: CheckpointRule) -> int:
    """How many checkpoints there are. A trainer that deletes one may leave the step's folder."""
    form = words(rule.trainer)
    folders = [rule.path / form.step_folder(step) for step in steps(rule)]
    return len([step for step in folders if all(is_dir(step / part) for part in rule.parts)])


def weights_identity(model: Path, trainer: Mapping[str, Any] = VERL) -> str:
    """SHA-256 (hexadecimal) of a result's weights: in Hugging Face format in the folder `model` if
    they exist, otherwise in the trainer's own files. Raises OSError."""
    form = words(trainer)
    own = model.parent if form.huggingface not in ("", ".") else model
    files = [path for pattern in form.weights for path in _fitting(own, pattern)]
    return files_identity(_fitting(model, "*.safetensors") or files)


def _fitting(folder: Path, pattern: str) -> list[Path]:
    return [folder / name for name in fnmatch.filter(names(folder), pattern)]


def tracked(rule: CheckpointRule) -> int | None:
    """The step that the trainer finished last, from its own file; None if that is unusable, or if
    this trainer has none."""
    form = words(rule.trainer)
    return tracked_step(read_text(rule.path / form.tracker), form) if form.tracker else None
