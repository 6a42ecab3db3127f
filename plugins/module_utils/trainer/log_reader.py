"""The trainer's own lines in its log, for every use of them: the one reader.

A log also holds text of data and models, which may look like anything. So a line counts only where
the trainer would begin it (behind Ray's prefix or a progress bar), in its exact form, with finite
numbers, up to the total; never within a printed sample; and only as part of the longest series of
steps that rises. Of several lines for one step the first counts.

Standard library only: jobs carry a copy of this file beside keep.py.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from typing import NamedTuple, Sequence

if __package__:
    from .words import METRICS
else:  # in a job, which carries both files
    from words import METRICS  # type: ignore[import-not-found, no-redef]

LONGEST = 1 << 16  # characters of a line that are looked at; more than the trainer writes
NUMBER = r"-?[0-9]{1,30}(?:\.[0-9]{1,40})?(?:[eE][-+]?[0-9]{1,3})?"
_LARGEST_SAMPLE = 5000  # lines

# `(TaskRunner pid=2, ip=10.0.0.2) ` of Ray, perhaps in colour.
_COLOUR = r"(?:\x1b\[[0-9;]{0,12}m)?"
_RAY = re.compile(
    rf"{_COLOUR}\(\w[\w.]{{0,99}} pid=[0-9]{{1,10}}(?:, ip=[0-9a-fA-F.:]{{1,45}})?\){_COLOUR} ",
    re.ASCII,
)
# SFT's bar counts within an epoch, PPO's over all of them.
_BAR = re.compile(
    r"(?:Epoch [0-9]{1,6}/([0-9]{1,6})|Training Progress): {0,4}[0-9]{1,3}%\|[^|]{0,400}\|"
    r" {0,12}[0-9]{1,9}/([0-9]{1,9}) \[(?:[^\]]{0,99}\])?"
)
# `step:12 - train/loss:1.93 - train/lr(1e-3):2.9` stands for each step.
_STEP = re.compile(r"step:([0-9]{1,9}) - ")
_PIECE = re.compile(
    rf"([A-Za-z][^\s:/]{{0,99}}/[^\s:]{{1,199}}):(?:np\.\w{{1,20}}\()?({NUMBER}|nan|-?inf)\)?"
)
_KNOWN = {name: re.compile(known.pattern) for name, known in METRICS.items()}
_BEGINNINGS = tuple({re.split(r"[^\w/-]", known.pattern)[0] for known in METRICS.values()})
_TOTAL = re.compile(
    r"(?:\w{4,8}:[\w.]{1,99}:)?(?:\[Rank 0\] )?Total training steps: ([0-9]{1,9}),?$"
)
# SFT's own sum, which `trainer.total_training_steps` can cut short without a word.
_ALL_EPOCHS = re.compile(
    r"(?:Number of steps/epoch [0-9]{1,9}, )?(?:number of epochs [0-9]{1,6}, )?"
    r"total number of steps ([0-9]{1,9})$"
)
_FIELD = re.compile(r"\[\w{1,99}\] ")


class Step(NamedTuple):
    """One line of a step: its number, and those of words.METRICS that are in it."""

    number: int
    values: dict[str, float]
    validation: bool = False  # SFT prints a second line for that

    @property
    def place(self) -> tuple[int, bool]:
        """Where it stands in a log, of which each place is taken once."""
        return self.number, self.validation


class Reader:
    """What the lines of one job's logs come to. They are taken in order, and may have gaps."""

    def __init__(self) -> None:
        self.stated: int | None = None  # the total, in PPO's words
        self.all_epochs: int | None = None  # the steps of all epochs, in SFT's
        self._by_bar: int | None = None
        self._found: list[Step] = []
        self._before: list[int] = []  # of each of `_found`, the one before it in its series
        # Of each length, the series that ends lowest: its last place, and the index in `_found`.
        self._lasts: list[tuple[int, bool]] = []
        self._ends: list[int] = []
        self._samples = _Samples()

    @property
    def total(self) -> int | None:
        """The last step that there will be; at most that, unless it is `stated`."""
        return self.stated or self.all_epochs or self._by_bar

    def take(self, line: str) -> bool:
        """Take in a whole line, without its end. True if it is, so far, the last step's."""
        first, _return, last = line.rstrip("\r").partition("\r")
        own = self._samples.without(first)
        last = last.rpartition("\r")[2]
        # What follows a carriage return is the trainer's only if it draws a bar.
        taken = [self._take(text) for text in (*own, *([last] if _BAR.match(body(last)) else []))]
        return any(taken)

    def look_at_bar(self, text: str) -> None:
        """Take in the total of a progress bar, whose line need not be whole."""
        bar = _BAR.match(body(text))
        if bar and self._by_bar is None:
            self._by_bar = int(bar.group(2)) * int(bar.group(1) or 1) or None

    def close(self) -> None:
        """Nothing more comes: a sample that did not end was none."""
        for line in self._samples.rest():
            self._take(line)

    def steps(self) -> list[Step]:
        """The lines of steps that count, in order: the longest series that rises."""
        series, at = [], self._ends[-1] if self._ends else -1
        while at >= 0:
            series.append(self._found[at])
            at = self._before[at]
        top = self.total
        return [step for step in reversed(series) if top is None or step.number <= top]

    def _take(self, line: str) -> bool:
        text = body(line)
        bar = _BAR.match(text)
        self.look_at_bar(text)
        text = text[bar.end() :] if bar else text
        step = _step(text)
        if step is None:
            self._announced(text)
            return False
        return self._add(step)

    def _announced(self, text: str) -> None:
        """The trainer announces once how many steps there will be, before it makes any."""
        if self._found or self.stated or self.all_epochs:
            return
        total, epochs = _TOTAL.match(text), _ALL_EPOCHS.match(text)
        if total:
            self.stated = int(total.group(1)) or None
        elif epochs:
            self.all_epochs = int(epochs.group(1)) or None

    def _add(self, step: Step) -> bool:
        if self.total is not None and step.number > self.total:
            return False
        length = bisect_left(self._lasts, step.place)
        if self._lasts[length : length + 1] == [step.place]:
            return False  # the first one counts
        self._found.append(step)
        self._before.append(self._ends[length - 1] if length else -1)
        self._lasts[length : length + 1] = [step.place]
        self._ends[length : length + 1] = [len(self._found) - 1]
        return length == len(self._ends) - 1


def own_lines(lines: Sequence[str]) -> list[str]:
    """`lines` without the samples of data and answers that the trainer printed."""
    samples = _Samples()
    return [own for line in lines for own in samples.without(line)] + samples.rest()


def after_last_step(lines: Sequence[str]) -> int:
    """The index in `lines` after that of the last step; 0 if there is none."""
    reader = Reader()
    return max((n for n, line in enumerate(lines) if reader.take(line)), default=-1) + 1


def body(line: str) -> str:
    """A line without Ray's prefix, and no longer than a line of the trainer can be."""
    ray = _RAY.match(line)
    start = ray.end() if ray else 0
    return line[start : start + LONGEST]


def _step(text: str) -> Step | None:
    match = _STEP.match(text)
    pieces = text[match.end() :].split(" - ") if match else []
    if match is None or not any(map(_PIECE.fullmatch, pieces)):
        return None
    found: dict[str, list[float]] = {}
    for piece in pieces:
        pair = _PIECE.fullmatch(piece) if piece.startswith(_BEGINNINGS) else None
        for name in _KNOWN if pair else ():
            if pair and _KNOWN[name].fullmatch(pair.group(1)):
                found.setdefault(name, []).append(float(pair.group(2)))
    finite = {name: list(filter(math.isfinite, each)) for name, each in found.items()}
    # Of several data sets, the mean.
    values = {name: sum(each) / len(each) for name, each in finite.items() if each}
    return Step(int(match.group(1)), values, pieces[0].startswith("val"))


class _Samples:
    """Leaves out what the trainer prints of data and answers: from `[prompt]` to `[score]`, or to
    the first other field behind `[ground_truth]`."""

    def __init__(self) -> None:
        self._held: list[str] = []
        self._truth = False

    def without(self, line: str) -> list[str]:
        """The lines that are certainly not part of a sample, now that `line` has come."""
        text = body(line)
        if not self._held and not text.startswith("[prompt] "):
            return [line]
        self._held.append(line)
        if text.startswith("[score] ") or (self._truth and _FIELD.match(text)):
            self._held, self._truth = [], False
        self._truth = self._truth or text.startswith("[ground_truth] ")
        return self.rest() if len(self._held) > _LARGEST_SAMPLE else []

    def rest(self) -> list[str]:
        """The lines of what began as a sample, and did not end as one."""
        held, self._held, self._truth = self._held, [], False
        return held
