"""The toy task: one-digit sums in words, as rows of verl's GSM8K form.

The worked answers are written in two styles. Only one ends in ``#### 7``, the form that verl's
GSM8K reward reads. Of some children it is the commoner style, of most the rarer one. So SFT learns
to add, and which child writes how: its greedy answers are rewarded for the first kind of child. PPO
has something to improve: it learns to use the rewarded style for all. Standard library only.
"""

from __future__ import annotations

import itertools
import random
from typing import Any

SEED = 20
TRAIN_ROWS = 5120
TEST_ROWS = 128
# These children mostly write the rewarded form, in this share of their answers; the others seldom.
FORMAL = ("Aiko", "Ben", "Chloe")
FORMAL_SHARE, OTHER_SHARE = 0.8, 0.2
# So this share of all answers is rewarded: about the reward that PPO starts from.
REWARDED_SHARE = 0.38

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NAMES = ("Aiko", "Ben", "Chloe", "Daniel", "Emma", "Finn", "Grace", "Hiro", "Ida", "Jonas")
THINGS = ("apples", "books", "cards", "coins", "eggs", "pens", "shells", "stamps", "stones", "toys")
VERBS = ("finds", "buys", "gets", "wins")


def question(name: str, thing: str, verb: str, first: int, second: int) -> str:
    """Tell one sum in words."""
    return f"{name} has {NUMBERS[first]} {thing} and {verb} {NUMBERS[second]} more. How many now?"


def answer(first: int, second: int, rewarded: bool) -> str:
    """Write the worked answer in one of the two styles."""
    total = first + second
    ending = f"#### {total}" if rewarded else f"So it is {total}."
    return f"{first} + {second} = {total}\n{ending}"


def rewarded_share(name: str) -> float:
    """What share of a child's answers has the rewarded form."""
    return FORMAL_SHARE if name in FORMAL else OTHER_SHARE


def row(split: str, index: int, asked: str, answered: str, total: int) -> dict[str, Any]:
    """Return one row in the form that verl's SFT and PPO both read, of each version."""
    prompt = [{"role": "user", "content": asked}]
    return {
        "data_source": "openai/gsm8k",
        "prompt": prompt,
        "messages": [*prompt, {"role": "assistant", "content": answered}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": str(total)},
        "extra_info": {"split": split, "index": index, "question": asked, "answer": answered},
    }


def rows(split: str) -> list[dict[str, Any]]:
    """Return the rows of ``train`` or ``test``: always the same ones, and no question in both."""
    dice = random.Random(SEED)  # noqa: S311 - dice, not a secret
    stories = list(itertools.product(NAMES, THINGS, VERBS, range(1, 10), range(1, 10)))
    dice.shuffle(stories)
    stories = stories[: TRAIN_ROWS + TEST_ROWS]
    styles = [dice.random() < rewarded_share(story[0]) for story in stories]
    chosen = list(zip(stories, styles, strict=True))
    part = chosen[:TRAIN_ROWS] if split == "train" else chosen[TRAIN_ROWS:]
    return [
        row(split, index, question(*story), answer(*story[3:], rewarded), sum(story[3:]))
        for index, (story, rewarded) in enumerate(part)
    ]
