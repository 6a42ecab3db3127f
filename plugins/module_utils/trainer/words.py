"""What a trainer writes and prints, as its profile says: names of its files, lines of its log.

A profile's `checkpoint` and `log` come here as one mapping, which the record of a stage keeps.
Standard library only and no relative imports: jobs carry a copy of this file beside keep.py.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Pattern, Sequence

TRACKER = "latest_checkpointed_iteration.txt"  # of verl

NUMBER = r"-?[0-9]{1,30}(?:\.[0-9]{1,40})?(?:[eE][-+]?[0-9]{1,3})?"
_TRACKED = r"([0-9]{1,12})"
_PLACE = re.compile(r"\{step(?::0([1-9][0-9]?))?\}")  # of the step in a folder's name
# What a profile may write for a part of a line. Other braces are those of regular expressions.
_PARTS = {
    "{step}": r"(?P<step>[0-9]{1,9})",
    "{total}": r"(?P<total>[0-9]{1,9})",
    "{epochs}": r"(?P<epochs>[0-9]{1,6})",
    "{name}": r"(?P<name>[A-Za-z][^\s:=]{0,199})",
    "{value}": rf"(?P<value>{NUMBER}|nan|-?inf)",
}
# A progress bar of tqdm behind its description.
_BAR = (
    r": {0,4}[0-9]{1,3}%\|[^|]{0,400}\| {0,12}[0-9]{1,9}/(?P<total>[0-9]{1,9}) \[(?:[^\]]{0,99}\])?"
)

_AT_MOST = (
    r"(?:Number of steps/epoch [0-9]{1,9}, )?(?:number of epochs [0-9]{1,6}, )?"
    r"total number of steps {total}$"
)
# Those of a record that an earlier mnrun wrote: it knew verl 0.5 alone.
VERL: dict[str, Any] = {
    "checkpoint": {
        "folder": "global_step_{step}",
        "tracker": TRACKER,
        "whole": "verl-shards",
        "files": [],
        "weights": ["model_world_size_*.pt"],
        "huggingface": "huggingface",
        "resume": "tracker",
    },
    "log": {
        "step": "step:{step} - ",
        "separator": " - ",
        "value": r"(?P<name>[A-Za-z][^\s:/]{0,99}/[^\s:]{1,199}):(?:np\.\w{1,20}\()?{value}\)?",
        "validation": "val",
        "total": [
            r"(?:\w{4,8}:[\w.]{1,99}:)?(?:\[Rank 0\] )?Total training steps: {total},?$",
        ],
        "at_most": [_AT_MOST],
        "bars": ["Epoch [0-9]{1,6}/{epochs}", "Training Progress"],
        "metrics": {
            "loss": {"name": "train/loss", "lower": True},
            "val_loss": {"name": "val/loss", "lower": True},
            "reward": {"name": "critic/score/mean"},
            "val_reward": {"name": r"val-(?:core|aux)/[^\s:]*reward/mean@1"},
        },
    },
    "last_step": "trainer.total_training_steps",
}


class Metric(NamedTuple):
    """A metric that people look at."""

    pattern: Pattern[str]  # of its name in the log
    lower: bool = False  # the best value is the lowest


class Words(NamedTuple):
    """A trainer's names of files, and patterns of its lines, each to be matched at the start."""

    folder: str  # of a step, with {step}, or {step:08} for eight digits
    tracker: str  # the file that names the step finished last; may be empty
    tracker_text: str  # what is in it, with {step}
    whole: str  # by what rule a step is complete, see whole.py
    files: tuple[str, ...]  # what a complete step has, as shell patterns
    loader: str  # where its data loader had come to, with {rank} if each rank has a file of it
    loader_share: int  # how many ranks read the same rows, of which one has that file
    weights: tuple[
        str, ...
    ]  # the files of its weights, likewise, where it has no Hugging Face ones
    huggingface: str  # the folder of its model in Hugging Face format; may be empty
    parts_hold_steps: bool  # PART/STEP with a tracker in each, in place of STEP/PART
    resume: str  # tracker, newest, option or none
    step: Pattern[str]
    separator: str  # between the values behind it
    value: Pattern[str]
    validation: str  # how the first value begins of a line that only validates
    total: tuple[Pattern[str], ...]
    at_most: tuple[Pattern[str], ...]
    bar: Pattern[str]
    metrics: dict[str, Metric]
    begins: Pattern[str]  # one of these is in each piece with a metric
    last_step: str  # the option that sets it
    step_name: Pattern[str]

    @property
    def starts_over(self) -> bool:
        """The trainer does not resume: each attempt begins at step 0."""
        return self.resume == "none"

    def step_folder(self, step: int) -> str:
        """The name of a step's folder."""
        return self.folder.format(step=step)

    def roots(self, path: Path, parts: Sequence[str]) -> list[Path]:
        """The folders in which there are those of steps, and a tracker."""
        return [path / part for part in parts if self.parts_hold_steps] or [path]

    def places(self, step: Path, parts: Sequence[str]) -> list[Path]:
        """The folders that hold what is resumed from of one step, whose folder is `step`."""
        if self.parts_hold_steps:
            return [root / step.name for root in self.roots(step.parent, parts)]
        return [step / part for part in parts] or [step]

    def step_of(self, name: str) -> int | None:
        """The step whose folder has this name; None for another folder."""
        match = self.step_name.fullmatch(name)
        step = int(match.group(1)) if match else None
        return step if step is not None and self.step_folder(step) == name else None


def words(trainer: Mapping[str, Any]) -> Words:
    """The words of a trainer by its profile's parts; of none, those of VERL."""
    return _words(json.dumps(trainer or VERL, sort_keys=True))


@functools.lru_cache(maxsize=32)
def _words(text: str) -> Words:
    trainer = json.loads(text)
    saved, log = trainer["checkpoint"], trainer["log"]
    folder = str(saved["folder"])
    place = _PLACE.search(folder)
    start, end = (folder[: place.start()], folder[place.end() :]) if place else (folder, "")
    return Words(
        folder=folder,
        tracker=saved.get("tracker") or "",
        tracker_text=saved.get("tracker_text") or "{step}",
        whole=saved.get("whole") or "files",
        files=tuple(saved.get("files") or ()),
        loader=saved.get("loader") or "",
        loader_share=saved.get("loader_share") or 1,
        weights=tuple(saved.get("weights") or ()),
        huggingface=saved.get("huggingface") or "",
        parts_hold_steps=bool(saved.get("parts_hold_steps")),
        resume=saved.get("resume") or "newest",
        step=_pattern(log.get("step")),
        separator=log.get("separator") or " ",
        value=_pattern(log.get("value") or "{name}={value}"),
        validation=log.get("validation") or "",
        total=tuple(map(_pattern, log.get("total") or ())),
        at_most=tuple(map(_pattern, log.get("at_most") or ())),
        bar=_pattern("|".join(log["bars"]), _BAR) if log.get("bars") else _pattern(None),
        metrics={
            name: Metric(re.compile(one["name"]), bool(one.get("lower")))
            for name, one in (log.get("metrics") or {}).items()
        },
        begins=re.compile("|".join(map(_beginning, (log.get("metrics") or {}).values())) or "(?!)"),
        last_step=trainer.get("last_step") or "",
        step_name=re.compile(rf"{re.escape(start)}([0-9]{{1,12}}){re.escape(end)}"),
    )


def _beginning(metric: Mapping[str, Any]) -> str:
    """The literal start of a metric's name."""
    return re.escape(re.split(r"[^\w/-]", metric["name"])[0])


def _pattern(text: str | None, behind: str = "") -> Pattern[str]:
    """What a profile wrote, as a pattern; of nothing, one that nothing matches."""
    if not text:
        return re.compile(r"(?!)")
    for part, stands_for in _PARTS.items():
        text = text.replace(part, stands_for)
    return re.compile(f"(?:{text}){behind}", re.ASCII)


def tracked_step(text: str | None, form: Words) -> int | None:
    """The step in the text of a tracker; None for any other text, or without one."""
    before, _step, after = form.tracker_text.partition("{step}")
    match = re.fullmatch(re.escape(before) + _TRACKED + re.escape(after), (text or "").strip())
    return int(match.group(1)) if match else None
