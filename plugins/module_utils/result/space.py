"""Space for the checkpoints of a training, checked before it starts."""

from __future__ import annotations

import os
from pathlib import Path

from ..base.errors import Refused
from ..base.presence import is_dir
from ..base.process import Runner, run
from ..base.text import sentence, size
from ..record.contract import CheckpointRule, Record
from ..trainer.checkpoint import count
from .ownership import owned
from .quota import quotas


def require_space(rule: CheckpointRule | None, record: Record, runner: Runner = run) -> None:
    """Raise Refused if the file system, or a quota there, has too little space for the checkpoints
    that are still to be written.

    Existing ones of the same spec do not need space any more.
    """
    if rule is None or not rule.step_bytes:
        return
    place = owned(rule, record.fingerprint)
    # `kept` is the maximum at any time: the trainer deletes before it writes, keep.py afterwards.
    to_come = max(1, rule.kept - (count(place) if place else 0))
    needed = to_come * rule.step_bytes
    there = _existing(rule.path)
    free = _free(there)
    found = [(f"The file system of {rule.path} has {size(free)} left", free)]
    if free >= needed:
        found = [
            (f"{sentence(whose)} on {there} leaves {size(left)} of {size(limit)}", left)
            for whose, left, limit in quotas(there, runner)
        ]
    short = [text for text, left in found if left < needed]
    if not short:
        return
    raise Refused(
        f"{'; '.join(short)}: too little for {to_come} x {size(rule.step_bytes)} of checkpoints. "
        f"Nothing was submitted. Free some room, keep fewer ({record.stage}_keep, or an option of "
        "the trainer), or save less often. If the estimate is wrong: preflight_space=false."
    )


def _existing(path: Path) -> Path:
    while not is_dir(path):
        path = path.parent
    return path


def _free(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
