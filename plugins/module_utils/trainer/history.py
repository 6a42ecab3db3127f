"""What one attempt logged: its steps, by the trainer's log and else by its tracker; when the first
and the last of them came; and sample answers."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Mapping, NamedTuple, Sequence

from ..base.presence import is_file, opened
from .answers import Answer, Answers
from .log_reader import Reader, Step
from .tracker_files import Logged
from .words import Metric, Words, words

_BLOCK = 1 << 20  # bytes
_SAVING = "timing_s/save_checkpoint"  # as verl logs it, in seconds


class Times(NamedTuple):
    """When a training made steps, in seconds since the epoch."""

    first: float
    last: float
    saves: list[tuple[float, float]]  # begin and end of each


class History(NamedTuple):
    """What one attempt logged."""

    steps: list[Step]
    times: Times | None  # None: no tracker says
    answers: list[Answer]


def history(
    log: Path | None, trainer: Mapping[str, Any], tracked: Sequence[Logged], answers: int
) -> History:
    """Read one attempt's history. `trainer`: with every metric; `tracked`: what its tracker has of
    it, in order; `answers`: how many to keep. Raises OSError if a log exists and cannot be read."""
    form = words(trainer)
    reader, samples = Reader(form), Answers(answers)
    for line in _lines(log) if log else ():
        samples.take(line)
        if reader.take(line) and reader.newest:
            samples.step(reader.newest.number)
    reader.close()
    steps = reader.steps() or _steps(tracked, form)
    return History(steps, times_of(tracked), samples.found())


def _lines(path: Path) -> Iterator[str]:
    if not is_file(path):
        return
    with opened(path) as stream:
        rest = b""
        while True:
            block = stream.read(_BLOCK)
            if not block:
                return  # a line without an end is half written
            *whole, rest = (rest + block).split(b"\n")
            yield from (line.decode("utf-8", "replace") for line in whole)
            rest = rest if len(rest) < _BLOCK else b""


def times_of(tracked: Sequence[Logged]) -> Times | None:
    """When steps were made, by what was logged of them. Validation before the first does
    not count."""
    made = [one for one in tracked if one.step] or list(tracked)
    if not made:
        return None
    saves = [
        (one.time - one.values[_SAVING], one.time) for one in made if one.values.get(_SAVING, 0) > 0
    ]
    return Times(min(one.time for one in made), max(one.time for one in made), saves)


def _steps(tracked: Iterable[Logged], form: Words) -> list[Step]:
    """Steps of a trainer whose log shows none."""
    found: dict[int, dict[str, float]] = {}
    for one in tracked:
        if one.step is not None:
            values = _known(one.values, form)
            found[one.step] = {**values, **found.get(one.step, {})}
    return [Step(number, values) for number, values in sorted(found.items()) if values]


# Where a profile names no metrics: what most trainers call them.
_USUAL = {
    "loss": ("loss", "train/loss"),
    "val_loss": ("eval_loss", "eval/loss", "val/loss"),
    "reward": ("reward", "train/reward", "rollout/reward_mean"),
    "kl": ("kl", "train/kl"),
    "length": ("train/completions/mean_length", "completions/mean_length"),
    "grad_norm": ("grad_norm", "train/grad_norm"),
}


def needed_of(form: Words) -> Callable[[Logged], Logged]:
    """What keeps, of one record after another, what a history is made of: a tracker may have a
    hundred values for each step."""
    usual = {_SAVING, *(name for names in _USUAL.values() for name in names)}

    @functools.lru_cache(maxsize=4096)
    def needed(name: str) -> bool:
        return name in usual or any(_is(metric, name) for metric in form.metrics.values())

    def kept(one: Logged) -> Logged:
        values = {sys.intern(name): value for name, value in one.values.items() if needed(name)}
        return one._replace(values=values)

    return kept


def _is(metric: Metric, name: str) -> bool:
    pattern = metric.pattern
    return bool(pattern.fullmatch(name) or pattern.fullmatch(name.partition("/")[2]))


def _known(values: Mapping[str, float], form: Words) -> dict[str, float]:
    named = {
        title: value
        for name, value in values.items()
        for title, metric in form.metrics.items()
        if _is(metric, name)
    }
    usual = {
        title: values[name] for title, names in _USUAL.items() for name in names if name in values
    }
    return named or usual
