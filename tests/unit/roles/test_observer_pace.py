"""When a training stands still: never while it is healthy, and soon once it does."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise

import pytest
from observer_pace import Pace, Rhythm

FLOOR, FACTOR = 600.0, 10.0
LONGEST = 90 * 60.0  # seconds of a first step, a save or a validation
RUNS = 200


class Training:
    """A stand-in by simulated time: steps that slow down, saves, validations, suspensions."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)  # noqa: S311 - no secret
        self.seconds = 10 ** self.draw.uniform(-0.5, 3)  # a step's, up to 17 minutes
        self.total = self.draw.randint(30, 90)
        self.saves = self.draw.choice([0, 0, *range(5, 30)])
        self.validates = self.draw.choice([0, 0, *range(5, 30)])
        self.save_seconds = 10 ** self.draw.uniform(0, 3.6)
        self.validation_seconds = 10 ** self.draw.uniform(0, 3.6)
        self.writes_visibly = self.draw.random() < 0.5
        self.prints_each = 1 if self.seconds > 60 else self.draw.choice([1, 1, 5])
        known = self.draw.random() < 0.5
        rhythm = Rhythm(self.saves, self.validates) if known else Rhythm()
        self.pace = Pace(FLOOR, FACTOR, rhythm)
        self.alarms: list[str] = []

    def spend(self, seconds: float, what: str) -> None:
        """Nothing comes for so long; the job may be suspended meanwhile, for hours."""
        parts = 8
        for _part in range(parts):
            # A suspension is one interval between two looks, which counts as a short one.
            self.pace.passes(seconds / parts + (10.0 if self.draw.random() < 0.01 else 0.0))
            if self.pace.stalled:
                self.alarms.append(f"{what}: {self.pace.quiet:.0f} s of {self.pace.limit:.0f} s")

    def step_seconds(self, step: int) -> float:
        slow = self.draw.uniform(2, 6) if self.draw.random() < 0.03 else 1.0
        return self.seconds * self.draw.uniform(0.8, 1.3) * slow * (1 + 2 * step / self.total)

    def save(self) -> None:
        seconds = self.save_seconds * self.draw.uniform(0.7, 1.3)
        self.spend(seconds / 2, "save")
        if self.writes_visibly:
            self.pace.sign()
        self.spend(seconds / 2, "save")

    def train(self, until: int) -> None:
        self.spend(self.draw.uniform(0, LONGEST), "first step")
        for step in range(1, until + 1):
            validated = bool(self.validates) and step % self.validates == 0
            self.spend(self.step_seconds(step), "step")
            if validated:
                self.spend(self.validation_seconds * self.draw.uniform(0.7, 1.3), "validation")
            if step % self.prints_each == 0:
                self.pace.step(step, self.total, validated)
            if self.saves and step % self.saves == 0:
                self.save()
        if until == self.total:
            self.save()


def test_200_healthy_trainings_cause_no_alarm() -> None:
    alarms = {}
    for seed in range(RUNS):
        training = Training(seed)
        training.train(training.total)
        if training.alarms:
            alarms[seed] = training.alarms[:2]
    assert alarms == {}


def test_each_of_them_is_found_out_when_it_stands_still() -> None:
    """At any step; within `factor` times the least time, or what was healthy in it before."""
    late = {}
    for seed in range(RUNS):
        training = Training(seed)
        training.train(training.draw.randint(0, training.total))
        pace = training.pace
        limit = pace.limit
        while not pace.stalled and pace.quiet < 2 * limit:
            pace.passes(limit / 50)
        # In the worst case, twice the longest save, or 10 times what lies between two lines.
        slowest = FACTOR * (pace.usual or 0.0)
        if not pace.stalled or pace.quiet > 1.1 * max(FACTOR * FLOOR, 2.8 * LONGEST, slowest):
            late[seed] = (pace.quiet, training.seconds)
    assert late == {}


def steps(pace: Pace, seconds: float, number: int) -> Pace:
    for step in range(1, number + 1):
        pace.passes(seconds)
        pace.step(step, 1000)
    return pace


@pytest.mark.parametrize(
    ("seconds", "limit"), [(0.2, FLOOR), (30, FLOOR), (61, 610), (600, 6000), (3000, 30000)]
)
def test_the_limit_follows_the_usual_time_of_a_step(seconds: float, limit: float) -> None:
    pace = steps(Pace(FLOOR, FACTOR, Rhythm(0, 0)), seconds, 20)
    assert pace.limit == pytest.approx(limit)
    pace.passes(limit - 1)
    assert not pace.stalled
    pace.passes(2)
    assert pace.stalled


def test_what_was_not_seen_yet_may_take_long_and_is_then_known() -> None:
    pace = steps(Pace(FLOOR, FACTOR, Rhythm(0, 50)), 1.0, 49)
    assert pace.limit == FACTOR * FLOOR  # the next step is validated
    pace.passes(3000)
    pace.step(50, 1000, validated=True)
    pace.passes(1)
    pace.step(51, 1000)
    assert pace.limit == 2 * 3000


def due(pace: Pace, last: int, stride: int) -> Iterator[bool]:
    for step in range(stride, last + 1, stride):
        pace.passes(1.0)
        pace.step(step)
        yield pace.limit > FLOOR


@pytest.mark.parametrize("stride", [1, 2, 5])
@pytest.mark.parametrize("every", [7, 10, 64])
def test_a_save_is_due_between_the_lines_that_enclose_its_step(stride: int, every: int) -> None:
    lines = range(stride, 200, stride)
    found = list(due(Pace(FLOOR, FACTOR, Rhythm(every, 0)), lines[-1], stride))[5:]
    for (line, following), is_due in zip(list(pairwise(lines))[5:], found, strict=False):
        assert is_due == any(step % every == 0 for step in range(line, following + 1)), line


def test_a_trainer_that_says_nothing_of_saves_is_given_time() -> None:
    pace = steps(Pace(FLOOR, FACTOR), 1.0, 30)
    assert pace.limit == FACTOR * FLOOR


def test_the_end_may_take_long() -> None:
    pace = Pace(FLOOR, FACTOR, Rhythm(0, 0))
    for step in range(1, 11):
        pace.passes(1)
        pace.step(step, 10)
    assert pace.limit == FACTOR * FLOOR


def test_a_checkpoint_that_grows_is_a_sign_of_life() -> None:
    pace = steps(Pace(FLOOR, FACTOR, Rhythm(0, 0)), 1.0, 20)
    for _part in range(100):
        pace.passes(500)
        assert not pace.stalled
        pace.sign()
    pace.passes(1100)
    assert pace.stalled
