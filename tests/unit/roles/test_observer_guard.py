"""When the metrics of a training say that it has diverged, and when they do not."""

from __future__ import annotations

import random
from typing import Any

import pytest
from observer_guard import Diverged, Guard, bounds


def judged(given: dict[str, Any], series: list[dict[str, Any]]) -> Diverged | None:
    guard = Guard(bounds(given))
    for number, values in enumerate(series, 1):
        broken = [name for name, value in values.items() if value is None]
        known = {name: value for name, value in values.items() if value is not None}
        found = guard.take(number, known, broken)
        if found:
            return found
    return None


def losses(*values: float) -> list[dict[str, Any]]:
    return [{"loss": 1.0}] * 12 + [{"loss": value} for value in values]


CASES: list[tuple[dict[str, Any], list[dict[str, Any]], int | None]] = [
    ({"finite": True}, [{"loss": 1.0}, {"loss": None}], 2),
    ({"finite": True}, [{"grad_norm": None}], 1),
    ({"finite": True}, [{"val_loss": None}], None),
    ({"finite": False}, [{"loss": None}], None),
    ({"reward_floor": 0.0, "reward_steps": 3}, [{"reward": 0.0}] * 3, 1),
    ({"reward_floor": 0.0, "reward_steps": 3}, [{"reward": 0.0}] * 2 + [{"reward": 0.1}], None),
    ({"reward_floor": -1, "reward_steps": 2}, [{"reward": 0.0}] * 9, None),
    ({"kl_above": 0.5}, [{"kl": 0.5}, {"kl": 0.51}], 2),
    ({"length_above": 900}, [{"length": 901.0}], 1),
    ({"length_above": 0}, [{"length": 901.0}], None),
    ({"loss_spike": 5, "spike_steps": 2}, losses(6, 7), 13),
    ({"loss_spike": 5, "spike_steps": 2}, losses(6, 1, 6, 1), None),
    ({"loss_spike": 5}, [{"loss": 100.0}, {"loss": 1.0}, {"loss": 50.0}], None),  # none is usual
    ({"loss_spike": None}, losses(100, 100, 100, 100), None),
]


@pytest.mark.parametrize(("given", "series", "since"), CASES)
def test_it_has_diverged_from_a_step_on(
    given: dict[str, Any], series: list[dict[str, Any]], since: int | None
) -> None:
    found = judged(given, series)
    assert (found.step if found else None) == since


def test_a_noisy_training_that_learns_is_left_alone() -> None:
    draw = random.Random(1)  # noqa: S311 - no secret
    series = [
        {"loss": 3 / (1 + n / 50) * draw.uniform(0.5, 2), "reward": draw.random(), "kl": 0.1}
        for n in range(1000)
    ]
    given = {"reward_floor": 0.0, "kl_above": 0.5, "loss_spike": 5}
    assert judged(given, series) is None
