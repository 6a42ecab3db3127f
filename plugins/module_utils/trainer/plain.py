"""What a trainer reads, by its profile alone: its options are not known here."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping

from . import options
from .estimate import Saves
from .reads import CHAT, Field, Reads


def reads_of(trainer: Mapping[str, Any], train: list[Path], test: list[Path]) -> Reads:
    """What one of the module's `trainers` reads. Raises Invalid for options that do not fit."""
    how = trainer.get("validate") or {}
    stage, ranks = trainer["stage"], int(trainer.get("ranks") or 0)
    if how.get("config"):
        return options.reads(stage, how["config"], trainer["overrides"], ranks, how)
    data = trainer.get("data") or {}
    fields = [Field(name, kind) for name, kind in (data.get("columns") or {}).items()]
    last_step = int(trainer.get("last_step") or 0)
    return Reads(
        stage,
        train,
        test,
        fields,
        batch=0,
        saves=Saves(int(trainer.get("room") or 0), 0, 0, 1, last_step, validates=1),
        least_test=0,
        chats=any(field.kind == CHAT for field in fields),
        parquet=data.get("files") != "any",
    )
