"""A summary of what was checked, in a few lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterator

from ..base.files import expand
from ..base.text import listed, plural, size
from ..trainer.estimate import steps, weights
from ..trainer.reads import Reads


def summary(
    params: dict[str, Any], trainers: list[Reads], rows: dict[str, int], space: dict[str, Any]
) -> list[str]:
    """What was checked. `rows` by file; `space`: the size of each stage's checkpoints."""
    named = ", ".join(text for _part, text in things(params, trainers, rows, set()))
    lines = [f"Checked: {named}."] if named else []
    for trainer in trainers:
        number = steps(trainer.saves, _rows(trainer.train_files, rows), trainer.batch)
        parts = [f"{number:,} steps of {trainer.batch:,} rows"] if trainer.batch else []
        each, kept = space[trainer.stage]["step_bytes"], space[trainer.stage]["kept"]
        if each:
            most = f", at most {kept} at a time" if trainer.batch else ""
            parts.append(f"a checkpoint takes about {size(each)}{most}")
        if trainer.stage in _starting_over(params):
            parts.append("the trainer does not resume: what is cut off starts over at step 0")
        lines += [f"{trainer.stage}: {'; '.join(parts)}."] if parts else []
    return lines


def _starting_over(params: dict[str, Any]) -> set[str]:
    """The stages whose trainer cannot resume."""
    return {one["stage"] for one in params.get("trainers") or () if one.get("resumes") is False}


def things(
    params: dict[str, Any], trainers: list[Reads], rows: dict[str, int], bad: set[str]
) -> Iterator[tuple[str, str]]:
    """The parts that are not `bad`, each with what is there."""
    parts: tuple[tuple[str, Callable[..., Iterator[str]]], ...] = (
        ("model", _models), ("data", _data), ("options", _options), ("Slurm", _requests),
    )  # fmt: skip
    for part, texts in parts:
        if part not in bad:
            yield from ((part, text) for text in texts(params, trainers, rows))


def _models(params: dict[str, Any], *_: Any) -> Iterator[str]:
    for model in dict.fromkeys([params["model"], *params["other_models"]]):
        if model:
            number = weights(expand(model))
            yield f"the model {model}" + (f" ({number:,} weights)" if number else "")


def _data(params: dict[str, Any], _: list[Reads], rows: dict[str, int]) -> Iterator[str]:
    for purpose, files in (("train", params["train_files"]), ("validate", params["test_files"])):
        if files:
            found = _rows([expand(path) for path in files], rows)
            count = plural(len(files), "file")
            yield (
                f"{found:,} rows to {purpose} on ({count})" if found else f"{count} to {purpose} on"
            )


def _options(_: dict[str, Any], trainers: list[Reads], __: dict[str, int]) -> Iterator[str]:
    if trainers:
        yield f"the options of {listed([trainer.stage for trainer in trainers])}"


def _requests(params: dict[str, Any], *_: Any) -> Iterator[str]:
    if params["slurm"]:
        yield f"the Slurm requests of {listed([request['stage'] for request in params['slurm']])}"


def _rows(files: list[Path], rows: dict[str, int]) -> int:
    return sum(rows[str(path)] for path in files)
