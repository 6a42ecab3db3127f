"""The trainer's own lines in its log, for every use of them: the one reader.

A log also holds text of data and models, which may look like anything. So a line counts only where
the trainer would begin it (behind Ray's prefix or a progress bar), in its exact form, with finite
numbers, up to the total; never within a printed sample; and only as part of the longest series of
steps that rises, of one process where Ray names it. Of several lines for one step the first counts;
where they differ before the next step comes, none of their values is believed, unless the trainer
prints most steps so.

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
_MOST_SOURCES = 1000
_PACE_KNOWN = 4  # steps until a jump stands out
_FEW = 3  # steps with several lines that are no habit
_BLOCK = 1 << 20  # bytes

# `(TaskRunner pid=2, ip=10.0.0.2) ` of Ray, perhaps in colour.
_COLOUR = r"(?:\x1b\[[0-9;]{0,12}m)?"
_RAY = re.compile(
    rf"{_COLOUR}\(\w[\w.]{{0,99}} (pid=[0-9]{{1,10}}(?:, ip=[0-9a-fA-F.:]{{1,45}})?)\){_COLOUR} ",
    re.ASCII,
)
_FIELD = re.compile(r"\[\w{1,99}\] ")


class Step(NamedTuple):
    """One line of a step: its number, and those of the trainer's metrics that are in it."""

    number: int
    values: dict[str, float]
    validation: bool = False  # some print a second line for that
    broken: tuple[str, ...] = ()  # metrics that were no finite numbers
    contested: tuple[str, ...] = ()  # of which several lines say something else

    @property
    def place(self) -> tuple[int, bool]:
        """Where it stands in a log, of which each place is taken once."""
        return self.number, self.validation

    def differs(self, other: Step) -> tuple[str, ...]:
        """The metrics of both lines that are not the same in them."""
        mine, its = {*self.values, *self.broken}, {*other.values, *other.broken}
        pairs = ((name, self.values.get(name), other.values.get(name)) for name in mine & its)
        return tuple(sorted(name for name, one, another in pairs if one != another))

    def with_more(self, other: Step) -> Step:
        """This line, with the metrics that only the other one has."""
        known = {*self.values, *self.broken}
        more = {name: value for name, value in other.values.items() if name not in known}
        broken = (name for name in other.broken if name not in known)
        values = {**self.values, **more}
        return self._replace(values=values, broken=(*self.broken, *broken))

    def without(self, names: Sequence[str]) -> Step:
        """This line without metrics that are contested."""
        values = {name: value for name, value in self.values.items() if name not in names}
        broken = tuple(name for name in self.broken if name not in names)
        return self._replace(values=values, broken=broken, contested=tuple(names))


class _Series:
    """The lines of one process: the steps that count are the longest series of them that rises."""

    def __init__(self) -> None:
        self.totals: dict[int, bool] = {}  # announced before the first step; whether it is stated
        self.found: list[Step] = []
        self.gap = 0  # how many of them are before lines that were not read
        self._contested: dict[int, tuple[str, ...]] = {}  # by the index in `found`
        self._before: list[int] = []  # of each of `found`, the one before it in its series
        # Of each length, the series that ends lowest: its last place, and the index in `found`.
        self._lasts: list[tuple[int, bool]] = []
        self._ends: list[int] = []

    def __len__(self) -> int:
        return len(self._ends)

    @property
    def made(self) -> int:
        """The last step so far; 0 if there is none."""
        return self._lasts[-1][0] if self._lasts else 0

    def add(self, step: Step) -> bool:
        """Take in a line. True if it is, so far, the last step's."""
        length = bisect_left(self._lasts, step.place)
        if self._lasts[length : length + 1] == [step.place]:
            if length == len(self) - 1:  # the first one counts once the next step has come
                self._contest(self._ends[length], step)
            return False
        self.found.append(step)
        self._before.append(self._ends[length - 1] if length else -1)
        self._lasts[length : length + 1] = [step.place]
        self._ends[length : length + 1] = [len(self.found) - 1]
        return length == len(self) - 1

    def _contest(self, at: int, step: Step) -> None:
        names = self.found[at].differs(step)
        if names:
            self._contested[at] = tuple({*self._contested.get(at, ()), *names})
        self.found[at] = self.found[at].with_more(step)

    def steps(self, top: int | None) -> list[Step]:
        """Those that count, up to the step `top`."""
        series, at = [], self._ends[-1] if self._ends else -1
        while at >= 0:
            if top is None or self.found[at].number <= top:
                series.append(at)
            at = self._before[at]
        series.reverse()
        if self._jumps(series):
            series.pop()
        several = [at for at in series if at in self._contested]
        is_habit = len(several) >= _FEW and 2 * len(several) > len(series)
        return [self._believed(at, is_habit) for at in series]

    def _believed(self, at: int, is_habit: bool) -> Step:
        names = self._contested.get(at)
        return self.found[at].without(names) if names and not is_habit else self.found[at]

    def _jumps(self, series: list[int]) -> bool:
        """Whether the last step is far ahead of all before it: another line has to bear it out."""
        if len(series) <= _PACE_KNOWN or series[-2] < self.gap <= series[-1]:
            return False
        numbers = [self.found[at].number for at in series]
        strides = [after - before for before, after in zip(numbers, numbers[1:])]
        return strides[-1] > 2 * max(1, *strides[:-1])


class Reader:
    """What the lines of one job's logs come to. They are taken in order, and may have gaps."""

    def __init__(self, form: Words | None = None) -> None:
        self._form = form or words({})
        self.highest = 0  # the largest total in any line, be it the trainer's or not
        self._by_bar: int | None = None
        self._by_source: dict[str, _Series] = {}
        self._samples = _Samples()

    @property
    def newest(self) -> Step | None:
        """The trainer's line of a step that came last, whether it counts or not."""
        found = self._own.found
        return found[-1] if found else None

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
    def _own(self) -> _Series:
        """The trainer's process: of those that announced a total, else of all, the one with the
        most steps."""

        def rank(one: _Series) -> tuple[bool, int, bool]:
            return bool(one.totals and len(one)), len(one), bool(one.totals)

        return max(self._by_source.values(), key=rank, default=_Series())

    @property
    def _totals(self) -> dict[int, bool]:
        """What was announced, and whether as the total itself."""
        own = self._own.totals
        every = (one.totals for one in self._by_source.values())
        return own or {total: stated for each in every for total, stated in each.items()}

    @property
    def _announced_total(self) -> int | None:
        """Of several, the smallest that was not passed: the user's own code may print others."""
        made, totals = self._own.made, self._totals
        enough = [total for total in totals if total >= made > 0]
        return min(enough, default=max(totals, default=None))

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

    def skip(self) -> None:
        """Lines follow that are not read."""
        for series in self._by_source.values():
            series.gap = len(series.found)

    def steps(self) -> list[Step]:
        """The lines of steps that count, in order."""
        own = self._own
        return own.steps(max(self._totals, default=self._by_bar))

    def _take(self, line: str) -> bool:
        text = body(line)
        bar = self._form.bar.match(text)
        self.look_at_bar(text)
        text = text[bar.end() :] if bar else text
        step = _step(text, self._form)
        if step is None:
            self._announced(text, line)
            return False
        series = self._series(line)
        top = max(series.totals, default=self._by_bar)
        if top is not None and step.number > top:
            return False
        return series.add(step) and series is self._own

    def _announced(self, text: str, line: str) -> None:
        """The trainer announces once how many steps there will be, before it makes any."""
        stated, epochs = _total(self._form.total, text), _total(self._form.at_most, text)
        total = stated or epochs or 0
        self.highest = max(self.highest, total)
        if total:
            series = self._series(line)
            if not series.found and len(series.totals) < _MOST_TOTALS:
                series.totals.setdefault(total, bool(stated))

    def _series(self, line: str) -> _Series:
        """That of the process which printed a line, as far as Ray names it."""
        ray = _RAY.match(line)
        source = ray.group(1) if ray else ""
        if len(self._by_source) >= _MOST_SOURCES and source not in self._by_source:
            return _Series()
        return self._by_source.setdefault(source, _Series())


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
