"""Room for the checkpoints of a training, before it starts."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .checkpoint_folder import owned
from .errors import Refused
from .files import names
from .job import CheckpointRule, Record

_STEP = re.compile(r"global_step_\d+")


def require_space(rule: CheckpointRule | None, record: Record) -> None:
    """Raise Refused if the file system has too little room for the checkpoints still to come.

    Those that lie there already, of the same spec, have their room.
    """
    if rule is None or not rule.step_bytes:
        return
    place = owned(rule, record.fingerprint)
    # One more than those to keep is never there: the trainer deletes before it writes.
    to_come = max(1, rule.kept - (_there(place) if place else 0))
    free = _free(rule.path)
    if free >= to_come * rule.step_bytes:
        return
    raise Refused(
        f"The file system of {rule.path} has room for {_size(free)}, too little for "
        f"{to_come} x {_size(rule.step_bytes)} of checkpoints. Nothing was submitted. Free some "
        "room, keep fewer (trainer.max_ckpt_to_keep, for PPO max_actor_ckpt_to_keep and "
        "max_critic_ckpt_to_keep; 2 or more), or save more seldom (trainer.save_freq). If the "
        "estimate is wrong: data_check_space=false."
    )


def _there(place: CheckpointRule) -> int:
    """How many checkpoints lie there. Of one that it deletes, verl leaves the step's folder."""
    steps = [place.path / name for name in names(place.path) if _STEP.fullmatch(name)]
    return len([step for step in steps if all((step / part).is_dir() for part in place.parts)])


def _free(path: Path) -> int:
    while not path.exists():
        path = path.parent
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
