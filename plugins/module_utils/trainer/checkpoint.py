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
            model = form.places(folder, rule.parts)[0] / form.huggingface
            return Survey(Checkpoint(step, folder, model), faults)
        faults += wrong
    return Survey(None, faults)


def steps(rule: CheckpointRule) -> list[int]:
    """All steps that the folder has anything of, in no order. Raises OSError."""
    form = words(rule.trainer)
    there = {name for root in form.roots(rule.path, rule.parts) for name in names(root)}
    return [step for step in map(form.step_of, there) if step is not None]


def count(rule: CheckpointRule) -> int:
    """How many checkpoints there are. A trainer that deletes one may leave the step's folder."""
    form = words(rule.trainer)
    folders = [rule.path / form.step_folder(step) for step in steps(rule)]
    return len([step for step in folders if all(map(is_dir, form.places(step, rule.parts)))])


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
    """The step that the trainer finished last, from its own file, the earliest of several; None if
    those are unusable, or if this trainer has none."""
    return min((step for step in trackers(rule) if step is not None), default=None)


def trackers(rule: CheckpointRule) -> list[int | None]:
    """What each of the trainer's own files says of that; None for an unusable one."""
    form = words(rule.trainer)
    roots = form.roots(rule.path, rule.parts) if form.tracker else []
    return [tracked_step(read_text(root / form.tracker), form) for root in roots]
