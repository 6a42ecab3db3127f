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
from typing import NamedTuple, Pattern, Sequence

if __package__:
    from .words import Words, words
else:  # in a job, which carries both files
    from words import Words, words  # type: ignore[import-not-found, no-redef]

LONGEST = 1 << 16  # characters of a line that are looked at; more than the trainer writes
_LARGEST_SAMPLE = 5000  # lines
_MOST_TOTALS = 100
_BLOCK = 1 << 20  # bytes

# `(TaskRunner pid=2, ip=10.0.0.2) ` of Ray, perhaps in colour.
_COLOUR = r"(?:\x1b\[[0-9;]{0,12}m)?"
_RAY = re.compile(
    rf"{_COLOUR}\(\w[\w.]{{0,99}} pid=[0-9]{{1,10}}(?:, ip=[0-9a-fA-F.:]{{1,45}})?\){_COLOUR} ",
    re.ASCII,
)
_FIELD = re.compile(r"\[\w{1,99}\] ")


class Step(NamedTuple):
    """One line of a step: its number, and those of the trainer's metrics that are in it."""

    number: int
    values: dict[str, float]
    validation: bool = False  # some print a second line for that
    broken: tuple[str, ...] = ()  # metrics that were no finite numbers

    @property
    def place(self) -> tuple[int, bool]:
        """Where it stands in a log, of which each place is taken once."""
        return self.number, self.validation


class Reader:
    """What the lines of one job's logs come to. They are taken in order, and may have gaps."""

    def __init__(self, form: Words | None = None) -> None:
        self._form = form or words({})
        self.highest = 0  # the largest total in any line, be it the trainer's or not
        # What was announced before the first step, and whether as the total itself.
        self._totals: dict[int, bool] = {}
        self._by_bar: int | None = None
        self._found: list[Step] = []
        self._before: list[int] = []  # of each of `_found`, the one before it in its series
        # Of each length, the series that ends lowest: its last place, and the index in `_found`.
        self._lasts: list[tuple[int, bool]] = []
        self._ends: list[int] = []
        self._samples = _Samples()

    @property
    def stated(self) -> int | None:
        """The total, where the trainer states it."""
        total = self._announced_total
        return total if total and self._totals[total] else None

    @property
    def all_epochs(self) -> int | None:
        """The steps of all epochs, of which an option may cut some."""
        total = self._announced_total
        return total if total and not self._totals[total] else None

    @property
    def total(self) -> int | None:
        """The last step that there will be; at most that, unless it is `stated`."""
        return self._announced_total or self._by_bar

    @property
    def _announced_total(self) -> int | None:
        """Of several, the smallest that was not passed: the user's own code may print others."""
        made = self._lasts[-1][0] if self._lasts else 0
        enough = [total for total in self._totals if total >= made > 0]
        return min(enough, default=self._top_announced)

    @property
    def _top_announced(self) -> int | None:
        return max(self._totals, default=None)

    def take(self, line: str) -> bool:
        """Take in a whole line, without its end. True if it is, so far, the last step's."""
        first, _return, last = line.rstrip("\r").partition("\r")
        own = self._samples.without(first)
        last = last.rpartition("\r")[2]
        # What follows a carriage return is the trainer's only if it draws a bar.
        bar = [last] if self._form.bar.match(body(last)) else []
        taken = [self._take(text) for text in (*own, *bar)]
        return any(taken)

    def look_at_bar(self, text: str) -> None:
        """Take in the total of a progress bar, whose line need not be whole."""
        bar = self._form.bar.match(body(text))
        if bar and self._by_bar is None:
            # A bar may count within an epoch.
            epochs = bar.groupdict().get("epochs") or 1
            self._by_bar = int(bar.group("total")) * int(epochs) or None

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
        top = self._top_announced or self._by_bar
        return [step for step in reversed(series) if top is None or step.number <= top]

    def _take(self, line: str) -> bool:
        text = body(line)
        bar = self._form.bar.match(text)
        self.look_at_bar(text)
        text = text[bar.end() :] if bar else text
        step = _step(text, self._form)
        if step is None:
            self._announced(text)
            return False
        return self._add(step)

    def _announced(self, text: str) -> None:
        """The trainer announces once how many steps there will be, before it makes any."""
        stated, epochs = _total(self._form.total, text), _total(self._form.at_most, text)
        total = stated or epochs or 0
        self.highest = max(self.highest, total)
        if total and not self._found and len(self._totals) < _MOST_TOTALS:
            self._totals.setdefault(total, bool(stated))

    def _add(self, step: Step) -> bool:
        top = self._top_announced or self._by_bar
        if top is not None and step.number > top:
            return False
        length = bisect_left(self._lasts, step.place)
        if self._lasts[length : length + 1] == [step.place]:
            return False  # the first one counts
        self._found.append(step)
        self._before.append(self._ends[length - 1] if length else -1)
        self._lasts[length : length + 1] = [step.place]
        self._ends[length : length + 1] = [len(self._found) - 1]
        return length == len(self._ends) - 1


class Tail:
    """A log that grows, read on from where the last look ended."""

    def __init__(self, path: str, reader: Reader) -> None:
        self._path, self._reader, self._offset = path, reader, 0

    def read(self) -> None:
        """Give the reader the whole lines that are new. Raises OSError."""
        with open(self._path, "rb") as stream:  # noqa: PTH123 - a link of /proc
            stream.seek(self._offset)
            while True:
                block = stream.read(_BLOCK)
                whole = block.rfind(b"\n") + 1
                if not whole and len(block) == _BLOCK:
                    whole = _BLOCK  # a line without an end is not one of the trainer
                if not whole:
                    return
                for line in block[:whole].decode("utf-8", "replace").split("\n"):
                    self._reader.take(line)
                self._offset += whole
                stream.seek(self._offset)


def own_lines(lines: Sequence[str]) -> list[str]:
    """`lines` without the samples of data and answers that the trainer printed."""
    samples = _Samples()
    return [own for line in lines for own in samples.without(line)] + samples.rest()


def after_last_step(lines: Sequence[str], form: Words | None = None) -> int:
    """The index in `lines` after that of the last step; 0 if there is none."""
    reader = Reader(form)
    return max((n for n, line in enumerate(lines) if reader.take(line)), default=-1) + 1


def body(line: str) -> str:
    """A line without Ray's prefix, and no longer than a line of the trainer can be."""
    ray = _RAY.match(line)
    start = ray.end() if ray else 0
    return line[start : start + LONGEST]


def _total(patterns: Sequence[Pattern[str]], text: str) -> int | None:
    matches = (pattern.match(text) for pattern in patterns)
    return next((int(match.group("total")) for match in matches if match), None)


def _step(text: str, form: Words) -> Step | None:
    match = form.step.match(text)
    pieces = text[match.end() :].split(form.separator) if match else []
    if match is None or not any(map(form.value.fullmatch, pieces)):
        return None
    known = map(form.value.fullmatch, filter(form.begins.search, pieces))
    pairs = [pair for pair in known if pair]
    found: dict[str, list[float]] = {}
    for pair in pairs:
        for name, metric in form.metrics.items():
            if metric.pattern.fullmatch(pair.group("name")):
                found.setdefault(name, []).append(float(pair.group("value")))
    finite = {name: list(filter(math.isfinite, each)) for name, each in found.items()}
    broken = tuple(name for name, each in found.items() if len(finite[name]) < len(each))
    # Of several data sets, the mean.
    values = {name: sum(each) / len(each) for name, each in finite.items() if each}
    validates = bool(form.validation) and pieces[0].startswith(form.validation)
    return Step(int(match.group("step")), values, validates, broken)


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
