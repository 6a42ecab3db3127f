"""The curves of all attempts of a training: what counts where they overlap, and what is kept."""

from __future__ import annotations

import re

from ansible_collections.mnrun.train.plugins.module_utils.trainer.curves import (
    Attempted,
    Resume,
    curves,
    joined,
    thinned,
    with_every_metric,
)
from ansible_collections.mnrun.train.plugins.module_utils.trainer.log_reader import Step
from ansible_collections.mnrun.train.plugins.module_utils.trainer.words import words


def made(*numbers: int, value: float = 1.0) -> list[Step]:
    return [Step(number, {"loss": value}) for number in numbers]


def test_of_steps_that_two_attempts_made_the_later_ones_count() -> None:
    first, second = made(1, 2, 3, 4, value=1.0), made(3, 4, 5, value=2.0)
    steps, resumes = joined([Attempted(1, first), Attempted(3, second)])
    assert curves(steps, 100) == {"loss": [(1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0), (5, 2.0)]}
    assert resumes == [Resume(attempt=3, step=3, repeated=2)]


def test_what_an_attempt_did_not_reach_again_does_not_count() -> None:
    steps, _ = joined([Attempted(1, made(1, 2, 3, 4)), Attempted(2, made(2, value=2.0))])
    assert curves(steps, 100) == {"loss": [(1, 1.0), (2, 2.0)]}


def test_an_attempt_without_a_step_takes_nothing_away() -> None:
    validated = [Step(2, {"val_loss": 5.0}, validation=True)]
    attempts = [Attempted(1, made(1, 2, 3)), Attempted(2, []), Attempted(3, validated)]
    steps, resumes = joined(attempts)
    assert curves(steps, 100) == {
        "loss": [(1, 1.0), (2, 1.0), (3, 1.0)],
        "val_loss": [(2, 5.0)],
    }
    assert resumes == []


def test_validation_before_the_first_step_is_no_step_to_resume_from() -> None:
    first = [*made(1, 2, 3), Step(3, {"val_loss": 1.0}, validation=True)]
    second = [Step(3, {"val_loss": 9.0}, validation=True), *made(4, 5, value=2.0)]
    steps, resumes = joined([Attempted(1, first), Attempted(2, second)])
    assert resumes == [Resume(2, 4, 0)]
    assert curves(steps, 100)["val_loss"] == [(3, 1.0)]
    assert [step for step, _ in curves(steps, 100)["loss"]] == [1, 2, 3, 4, 5]


def test_a_value_that_is_no_number_is_a_gap() -> None:
    steps = [Step(1, {"loss": 1.0}), Step(2, {}, broken=("loss",)), Step(3, {"loss": 3.0})]
    assert curves(steps, 100) == {"loss": [(1, 1.0), (2, None), (3, 3.0)]}


def test_a_long_curve_keeps_its_ends_its_spikes_and_its_gaps() -> None:
    points: list[tuple[int, float | None]] = [(n, float(n % 7)) for n in range(100_000)]
    points[33_333] = (33_333, 1e6)
    points[44_444] = (44_444, -1e6)
    points[55_555] = (55_555, None)
    kept = thinned(points, 600)
    assert len(kept) <= 600
    assert {points[0], points[-1], points[33_333], points[44_444], points[55_555]} <= set(kept)
    assert [step for step, _ in kept] == sorted({step for step, _ in kept})


def test_a_short_curve_stays_as_it_is() -> None:
    points: list[tuple[int, float | None]] = [(n, 1.0) for n in range(20)]
    assert thinned(points, 20) == points


def test_a_choice_of_names_becomes_a_metric_each() -> None:
    log = {
        "step": "step:{step} - ",
        "metrics": {"loss": {"name": "train/loss"}},
        "guard": {
            "grad_norm": "(?:train|actor)/grad_norm",
            "policy_loss": "(?:actor/pg_loss|critic/vf_loss)",
            "kl": "actor/ppo_kl",
            "odd": "(?:a|b)+c",
            "loss": "never",
        },
    }
    wide = with_every_metric({"checkpoint": {"folder": "{step}"}, "log": log})
    found = {name: re.compile(one["name"]) for name, one in wide["log"]["metrics"].items()}
    assert list(found) == [
        "loss", "train/grad_norm", "actor/grad_norm", "actor/pg_loss", "critic/vf_loss", "kl", "odd"
    ]  # fmt: skip
    assert found["actor/grad_norm"].fullmatch("actor/grad_norm")
    assert words(wide).metrics["loss"].pattern.pattern == "train/loss"
