"""The progress of a training, read from the lines that verl prints to the console.

`step:12 - train/loss:1.93 - train/lr(1e-3):2.9` for each step, perhaps behind a progress bar or a
name of a process; `Total training steps: 160` once (PPO), and bars. Only whole lines count: the
last one of a running job may be half-written.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Iterator, NamedTuple

from ..base.logfile import clean_lines, head, tail

_STEP = re.compile(r"\bstep:(\d{1,9}) - ")
_NUMBER = r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_METRIC = re.compile(rf"^([A-Za-z][^\s:]*):(?:np\.\w+\()?({_NUMBER})\)?$")
_TOTAL = re.compile(r"\bTotal training steps: (\d{1,9})(?=\D)")
# SFT's own sum, which `trainer.total_training_steps` can cut short without a word.
_ALL_EPOCHS = re.compile(r"\btotal number of steps (\d{1,9})(?=\D)")
# SFT's bar counts within an epoch, PPO's over all of them.
_EPOCH_BAR = re.compile(r"Epoch \d+/(\d{1,6}):[^\r\n]*?\| *\d+/(\d{1,9}) \[")
_TRAINING_BAR = re.compile(r"Training Progress:[^\r\n]*?\| *\d+/(\d{1,9}) \[")
# A job of ours that does not train, such as a conversion: `mnrun: [2/5] compare the tensors`.
_PART = re.compile(r"^mnrun: \[(\d{1,3})/(\d{1,3})\] (.{1,80})$", re.MULTILINE)
_SCORE = re.compile(rf"^mnrun: (\w{{1,40}}_score)=({_NUMBER})$", re.MULTILINE)
_FRIENDLY = (
    ("loss", re.compile(r"train/loss")),
    ("val_loss", re.compile(r"val/loss")),
    ("reward", re.compile(r"critic/score/mean")),
    ("val_reward", re.compile(r"val-(?:core|aux)/.*reward/mean@1")),
)


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
        match = _STEP.search(line)
        if not match:
            continue
        values = _metrics(line[match.end() :])
        if values:
            yield int(match.group(1)), _friendly(values)


def _metrics(text: str) -> dict[str, float]:
    pairs = (_METRIC.match(piece.strip()) for piece in text.split(" - "))
    return {pair.group(1): float(pair.group(2)) for pair in pairs if pair and "/" in pair.group(1)}


def _friendly(values: dict[str, float]) -> dict[str, float]:
    """The few metrics that people look at; of several data sets, the mean."""
    found: dict[str, float] = {}
    for name, pattern in _FRIENDLY:
        fitting = [value for key, value in values.items() if pattern.fullmatch(key)]
        if fitting:
            found[name] = sum(fitting) / len(fitting)
    return found


def _estimated(text: str) -> int | None:
    totals = _ALL_EPOCHS.findall(text) or _TRAINING_BAR.findall(text)
    if totals:
        return int(totals[-1])
    epochs = _EPOCH_BAR.findall(text)
    return int(epochs[-1][0]) * int(epochs[-1][1]) if epochs else None
