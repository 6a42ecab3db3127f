"""A summary of what was checked, in a few lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator

from ..base.files import expand
from ..trainer.estimate import steps, weights
from ..trainer.options import Reads


def summary(
    params: dict[str, Any], trainers: list[Reads], rows: dict[str, int], space: dict[str, Any]
) -> list[str]:
    """What was checked. `rows` by file; `space`: the size of each stage's checkpoints."""
    things = ", ".join(_things(params, trainers, rows))
    lines = [f"Checked: {things}."] if things else []
    for trainer in trainers:
        number = steps(trainer.saves, _rows(trainer.train_files, rows), trainer.batch)
        line = f"{trainer.stage}: {number:,} steps of {trainer.batch:,} rows"
        size, kept = space[trainer.stage]["step_bytes"], space[trainer.stage]["kept"]
        if size:
            line += f"; a checkpoint takes about {_bytes(size)}, at most {kept} at a time"
        lines.append(f"{line}.")
    return lines


def _things(params: dict[str, Any], trainers: list[Reads], rows: dict[str, int]) -> Iterator[str]:
    for model in dict.fromkeys([params["model"], *params["other_models"]]):
        if model:
            number = weights(expand(model))
            yield f"the model {model}" + (f" ({number:,} weights)" if number else "")
    for purpose, files in (("train", params["train_files"]), ("validate", params["test_files"])):
        if files:
            found = _rows([expand(path) for path in files], rows)
            yield f"{found:,} rows to {purpose} on ({_count(len(files), 'file')})"
    if trainers:
        yield f"the options of {_and([trainer.stage for trainer in trainers])}"
    if params["slurm"]:
        yield f"the Slurm requests of {_and([request['stage'] for request in params['slurm']])}"


def _rows(files: list[Path], rows: dict[str, int]) -> int:
    return sum(rows[str(path)] for path in files)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _and(words: list[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _bytes(number: int) -> str:
    """In units of 1000, as disks are sold."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{max(1, round(number / 1e6))} MB"
