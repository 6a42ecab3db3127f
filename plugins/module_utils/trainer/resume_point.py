"""From which checkpoint the trainer will resume: the newest complete one, whatever else it finds.

verl resumes from the step in its tracker file, aborts if that one is damaged, and silently starts
over if it does not exist. So before each submission the tracker is set to the newest complete step.
Skipped steps are renamed, never deleted.
"""

from __future__ import annotations

from pathlib import Path

from ..base.files import write_atomic
from ..base.presence import names
from ..record.contract import CheckpointRule
from .checkpoint import steps, survey, tracked
from .words import TRACKER, step_folder

PASSED_OVER = "passed_over"


def newest_whole(rule: CheckpointRule, skip: int = 0) -> int:
    """The newest complete step; 0 if there is none. `skip`: a step that must not be used."""
    found = survey(rule, hf=False, below=skip)
    return found.step


def make_resumable(rule: CheckpointRule, skip: int = 0) -> str:
    """Make the trainer resume from the newest complete step. Returns a note about what was skipped,
    if anything. Call it only while no job writes there."""
    target, named = newest_whole(rule, skip), tracked(rule.path)
    if named == target or (named is None and not target):
        return ""
    # What is newer than the tracker was being written at the end; the trainer writes it again.
    passed = [step for step in steps(rule.path) if target < step <= (named or 0)]
    for step in passed:
        folder = rule.path / step_folder(step)
        folder.rename(_free(rule.path, f"{PASSED_OVER}.{folder.name}"))
    if target:
        write_atomic(rule.path / TRACKER, str(target))
    else:
        (rule.path / TRACKER).unlink()
    if not passed:
        return ""
    which = ", ".join(map(str, sorted(passed)))
    return f"The checkpoint of step {which} was skipped (kept as {PASSED_OVER}.global_step_N)."


def _free(folder: Path, name: str) -> Path:
    taken = names(folder)
    numbered = (name if n == 1 else f"{name}-{n}" for n in range(1, 1000))
    return folder / next(free for free in numbered if free not in taken)
