"""From which checkpoint the trainer will resume: the newest complete one, whatever else it finds.

One with a tracker (verl) resumes from the step in it, aborts if that one is damaged, and silently
starts over if it does not exist. So before each submission the tracker is set to the newest
complete step. Of others, which take the newest folder or the one that an option names, no newer
folder stays; of one that does not resume, none at all. Skipped steps are renamed, never deleted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Iterable

from ..base.files import write_atomic
from ..base.presence import names
from ..record.contract import CheckpointRule
from .checkpoint import steps, survey, trackers
from .words import Words, words

PASSED_OVER = "passed_over"
RESUME = "resume"  # the file beside a job's script with the folder that it resumes from


def newest_whole(rule: CheckpointRule, skip: int = 0) -> int:
    """The newest complete step to resume from; 0 without one, or if this trainer never resumes.
    `skip`: a step that must not be used."""
    if words(rule.trainer).starts_over:
        return 0
    found = survey(rule, hf=False, below=skip)
    return found.step


def make_resumable(rule: CheckpointRule, skip: int = 0) -> str:
    """Make the trainer resume from the newest complete step. Returns a note about what was skipped,
    if anything. Call it only while no job writes there."""
    form = words(rule.trainer)
    if form.tracker:
        passed = _set_tracker(rule, form, skip)
    else:
        target = newest_whole(rule, skip)
        passed = [step for step in steps(rule) if step > target]
    for root in form.roots(rule.path, rule.parts):
        _put_aside([root / form.step_folder(step) for step in passed])
    if not passed:
        return ""
    which = ", ".join(map(str, sorted(passed)))
    shown = form.folder.partition("{")[0]
    return f"The checkpoint of step {which} was skipped (kept as {PASSED_OVER}.{shown}N)."


def resume_folder(rule: CheckpointRule) -> str:
    """The folder of the checkpoint that an option has to name; empty without one, or if this
    trainer finds it itself."""
    form = words(rule.trainer)
    step = newest_whole(rule) if form.resume == "option" else 0
    return str(rule.path / form.step_folder(step)) if step else ""


def _set_tracker(rule: CheckpointRule, form: Words, skip: int) -> list[int]:
    """Have the tracker name the newest complete step; returns the steps that must go."""
    target, named = newest_whole(rule, skip), trackers(rule)
    if form.parts_hold_steps and not target:
        # Where a part has a folder, but no step in it, a trainer may fail rather than start over.
        passed = steps(rule)
        _put_aside(form.roots(rule.path, rule.parts))
        return passed
    if set(named) == {target} or (set(named) == {None} and not target):
        return []
    # What is newer than the tracker was being written at the end; the trainer writes it again.
    last = max((step for step in named if step is not None), default=0)
    passed = [step for step in steps(rule) if target < step <= last]
    for root in form.roots(rule.path, rule.parts):
        if target:
            write_atomic(root / form.tracker, form.tracker_text.format(step=target))
        else:
            (root / form.tracker).unlink()
    return passed


def _put_aside(folders: Iterable[Path]) -> None:
    """Rename those that are there."""
    for folder in folders:
        if folder.name in names(folder.parent):
            folder.rename(_free(folder.parent, f"{PASSED_OVER}.{folder.name}"))


def _free(folder: Path, name: str) -> Path:
    taken = names(folder)
    numbered = (name if n == 1 else f"{name}-{n}" for n in range(1, 1000))
    return folder / next(free for free in numbered if free not in taken)
