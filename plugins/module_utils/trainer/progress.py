"""The progress of a job, read from its logs: steps of a training, or parts of a job of ours.

The trainer's lines are log_reader.py's. Only whole lines count: the last one of a running job may
be half-written.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, Iterable, Mapping, NamedTuple

from ..base.logfile import CHUNK, head, size_of, tail
from .log_reader import LONGEST, Reader, Step
from .words import NUMBER, VERL, words

# A job of ours that does not train, such as a conversion: `mnrun: [2/5] compare the tensors`.
_PART = re.compile(r"mnrun: \[([0-9]{1,3})/([0-9]{1,3})\] (.{1,80})")
_SCORE = re.compile(rf"mnrun: (\w{{1,40}}_score)=({NUMBER})", re.ASCII)


class Progress(NamedTuple):
    """How far. `metrics`: the last values, and the first ones under `first_…`."""

    step: int | None = None
    total: int | None = None
    metrics: dict[str, float] = {}  # noqa: RUF012 - never changed
    total_stated: bool = False  # stated by the trainer; otherwise computed, and an upper bound
    all_epochs: int | None = None  # the steps of all epochs, of which an option may cut some
    highest: int = 0  # the largest total in the log, which need not be the trainer's
    doing: str = ""  # what a job of ours does now, where that is no training step

    def as_dict(self) -> dict[str, Any]:
        """For a module's result."""
        doing = {"doing": self.doing} if self.doing else {}
        return {"step": self.step, "total": self.total, "metrics": self.metrics, **doing}


def parse(text: str, trainer: Mapping[str, Any] = VERL) -> Progress:
    """All that a log of this trainer shows; what is not in it is None."""
    return _progress([text], trainer)


def last_step_option(options: Mapping[str, Any], trainer: Mapping[str, Any]) -> int | None:
    """The last step that a user's options of the trainer allow; None: all of its epochs."""
    value = str(options.get(words(trainer).last_step) or "")
    return int(value) if value.isascii() and value.isdigit() else None


def read_progress(paths: list[Path], trainer: Mapping[str, Any] = VERL) -> Progress:
    """The progress that a job's logs show, reading only their first and last parts. Raises OSError
    if one exists and cannot be read."""
    parts = (part for path in dict.fromkeys(paths) for part in _parts(path))
    return _progress(parts, trainer)


def _parts(path: Path) -> list[str]:
    return [head(path), tail(path)] if size_of(path) > CHUNK else [head(path)]


def _progress(texts: Iterable[str], trainer: Mapping[str, Any]) -> Progress:
    reader, ours = Reader(words(trainer)), _OurJob()
    for text in texts:
        reader.skip()
        for line in text.split("\n")[:-1]:
            ours.take(line)
        _feed(reader, text)
    steps = reader.steps()
    if ours.doing and not steps and reader.total is None:
        return Progress(ours.part, ours.parts, ours.scores, True, doing=ours.doing)
    number = steps[-1].number if steps else None
    stated = reader.stated is not None
    announced = (reader.all_epochs, reader.highest)
    return Progress(number, reader.total, _metrics(steps), stated, *announced)


def _feed(reader: Reader, text: str) -> None:
    end = text.rfind("\n") + 1
    for line in text[:end].split("\n"):
        reader.take(line)
    reader.close()
    for piece in text[end:].rsplit("\r", 2)[-2:]:
        reader.look_at_bar(piece)


def _metrics(steps: list[Step]) -> dict[str, float]:
    """The first and the last value of each metric; the first of several for one step."""
    metrics: dict[str, float] = {}
    at: dict[str, int] = {}
    for step in steps:
        for name, value in step.values.items():
            metrics.setdefault(f"first_{name}", value)
            if at.get(name) != step.number:
                metrics[name], at[name] = value, step.number
    return metrics


class _OurJob:
    """What a job of ours prints of itself: its parts in order, and what they came to."""

    def __init__(self) -> None:
        self.part = self.parts = 0
        self.doing = ""
        self.scores: dict[str, float] = {}

    def take(self, line: str) -> None:
        """Take in a whole line."""
        part = _PART.fullmatch(line[:LONGEST])
        score = None if part else _SCORE.fullmatch(line[:LONGEST])
        if part:
            self._begin(int(part.group(1)), int(part.group(2)), part.group(3))
        elif score and math.isfinite(float(score.group(2))):
            self.scores.setdefault(score.group(1), float(score.group(2)))

    def _begin(self, part: int, parts: int, doing: str) -> None:
        if self.part <= part <= parts and parts == (self.parts or parts):
            self.part, self.parts, self.doing = part, parts, doing
