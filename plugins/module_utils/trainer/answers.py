"""Sample answers that the trainer prints into its log when it validates."""

from __future__ import annotations

import math
import re
from collections import deque
from typing import NamedTuple

from ..base.text import printable
from .log_reader import body

_FIELDS = ("prompt", "response", "ground_truth", "score")
_FIELD = re.compile(r"\[(prompt|response|ground_truth|score)\] (.*)", re.DOTALL)
_LONGEST = 2000  # characters of a text
_LINES = 60  # of a text
_NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,20})?(?:e-?[0-9]{1,3})?")


class Answer(NamedTuple):
    """What the model answered to one question."""

    step: int | None  # of the validation; None if no step's line followed
    prompt: str
    answer: str
    truth: str
    score: float | None


class Answers:
    """The first sample of a log, and the last ones. Lines are taken in order."""

    def __init__(self, most: int) -> None:
        self._first: list[Answer] = []
        self._last: deque[Answer] = deque(maxlen=max(1, most - 1))
        self._waiting: list[dict[str, list[str]]] = []
        self._open: dict[str, list[str]] = {}
        self._field = ""

    def take(self, line: str) -> None:
        """Take in a whole line, without its end."""
        text = body(line)
        match = _FIELD.fullmatch(text) if text.startswith("[") else None
        if match:
            self._begin(match.group(1), match.group(2))
        elif self._field and len(self._open[self._field]) < _LINES:
            self._open[self._field].append(text)

    def step(self, number: int) -> None:
        """The line of a step came: the samples before it are of its validation."""
        for sample in self._waiting:
            self._keep(_answer(number, sample))
        self._waiting = []

    def found(self) -> list[Answer]:
        """The samples, in order."""
        for sample in self._waiting:
            self._keep(_answer(None, sample))
        self._waiting = []
        return [*self._first, *self._last]

    def _begin(self, field: str, text: str) -> None:
        if field == "prompt":
            self._open = {}
        elif not self._open:
            return
        self._open[field], self._field = [text], field
        if field == "score":
            self._waiting = [*self._waiting, self._open][-4:]
            self._open, self._field = {}, ""

    def _keep(self, answer: Answer) -> None:
        (self._last if self._first else self._first).append(answer)


def _answer(step: int | None, sample: dict[str, list[str]]) -> Answer:
    prompt, answer, truth, score = (_text(sample.get(field, [])) for field in _FIELDS)
    number = float(score) if _NUMBER.fullmatch(score) else math.nan
    return Answer(step, prompt, answer, truth, number if math.isfinite(number) else None)


def _text(lines: list[str]) -> str:
    text = "\n".join(map(printable, lines)).strip()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
