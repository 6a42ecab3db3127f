"""The progress of a training, read from the lines that verl prints to the console.

A line for each step (words.py), `Total training steps: 160` once (PPO), and bars. Only whole lines
count: the last one of a running job may be half-written.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Iterator, Mapping, NamedTuple

from ..base.logfile import clean_lines, head, tail
from .words import METRICS, NUMBER, metric, step_line

_TOTAL = re.compile(r"\bTotal training steps: (\d{1,9})(?=\D)")
# SFT's own sum, which `trainer.total_training_steps` can cut short without a word.
_ALL_EPOCHS = re.compile(r"\btotal number of steps (\d{1,9})(?=\D)")
# SFT's bar counts within an epoch, PPO's over all of them.
_EPOCH_BAR = re.compile(r"Epoch \d+/(\d{1,6}):[^\r\n]*?\| *\d+/(\d{1,9}) \[")
_TRAINING_BAR = re.compile(r"Training Progress:[^\r\n]*?\| *\d+/(\d{1,9}) \[")
# A job of ours that does not train, such as a conversion: `mnrun: [2/5] compare the tensors`.
_PART = re.compile(r"^mnrun: \[(\d{1,3})/(\d{1,3})\] (.{1,80})$", re.MULTILINE)
_SCORE = re.compile(rf"^mnrun: (\w{{1,40}}_score)=({NUMBER})$", re.MULTILINE)


class Progress(NamedTuple):
    """How far. `metrics`: the last values, and the first ones under `first_…`."""

    step: int | None = None
    total: int | None = None
    metrics: dict[str, float] = {}  # noqa: RUF012 - never changed
    total_stated: bool = False  # stated by the trainer; otherwise computed, and an upper bound
    all_epochs: int | None = None  # the steps of all epochs, in SFT's own words
    doing: str = ""  # what a job of ours does now, where that is no training step

    def as_dict(self) -> dict[str, Any]:
        """For a module's result."""
        doing = {"doing": self.doing} if self.doing else {}
        return {"step": self.step, "total": self.total, "metrics": self.metrics, **doing}


def parse(text: str) -> Progress:
    """All that is in a part of a log; what is not in it is None."""
    step: int | None = None
    metrics: dict[str, float] = {}
    for number, values in _steps(text):
        step = number
        for name, value in values.items():
            metrics.setdefault(f"first_{name}", value)
            metrics[name] = value
    whole = text[: text.rfind("\n") + 1]
    parts = _PART.findall(whole)
    if parts:
        metrics = {name: float(value) for name, value in _SCORE.findall(whole)}
        return Progress(int(parts[-1][0]), int(parts[-1][1]), metrics, True, doing=parts[-1][2])
    stated = [int(total) for total in _TOTAL.findall(text)]
    total = stated[-1] if stated else _estimated(text)
    sums = [int(total) for total in _ALL_EPOCHS.findall(text)]
    return Progress(step, total, metrics, bool(stated), sums[-1] if sums else None)


def last_step_option(options: Mapping[str, Any]) -> int | None:
    """The last step that a user's options of the trainer allow; None: all of its epochs."""
    value = str(options.get("trainer.total_training_steps") or "")
    return int(value) if value.isascii() and value.isdigit() else None


def read_progress(paths: list[Path]) -> Progress:
    """The progress that a job's logs show, reading only their first and last parts."""
    merged = Progress()
    for path in dict.fromkeys(paths):
        merged = _later(_later(merged, parse(head(path))), parse(tail(path)))
    return merged


def _later(first: Progress, second: Progress) -> Progress:
    """Two parts of one log, the second one later."""
    begun = {k: v for k, v in first.metrics.items() if k.startswith("first_")}
    better = second.total is not None and (second.total_stated or not first.total_stated)
    return Progress(
        step=first.step if second.step is None else second.step,
        total=second.total if better else first.total,
        metrics={**first.metrics, **second.metrics, **begun},
        total_stated=first.total_stated or second.total_stated,
        all_epochs=first.all_epochs if second.all_epochs is None else second.all_epochs,
        doing=second.doing or first.doing,
    )


def _steps(text: str) -> Iterator[tuple[int, dict[str, float]]]:
    """Each step's number and values. A line without any metric is not a step."""
    whole = text[: text.rfind("\n") + 1]
    for line in clean_lines(whole):
        found = step_line(line)
        if found and any("/" in name for name in found[1]):
            known = ((name, metric(name, found[1])) for name in METRICS)
            yield found[0], {name: value for name, value in known if value is not None}


def _estimated(text: str) -> int | None:
    totals = _ALL_EPOCHS.findall(text) or _TRAINING_BAR.findall(text)
    if totals:
        return int(totals[-1])
    epochs = _EPOCH_BAR.findall(text)
    return int(epochs[-1][0]) * int(epochs[-1][1]) if epochs else None
