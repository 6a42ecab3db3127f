"""A reward function of a user's own, as TRL calls it."""

from __future__ import annotations

from typing import Any


def right(completions: list[Any], reward_model: list[dict[str, str]], **_: Any) -> list[float]:
    """One for an answer with the right number, and a little for each different letter."""
    answers = [completion[0]["content"] for completion in completions]
    return [
        float(one["ground_truth"] in answer) + 0.01 * len(set(answer))
        for answer, one in zip(answers, reward_model)  # noqa: B905 - Python 3.9 lacks `strict`
    ]
