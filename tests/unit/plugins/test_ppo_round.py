"""What comes next while PPO is trained, row by row."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.filter.ppo_round import ppo_round

OPEN = {"action": "submitted", "msg": "First attempt with these options."}
DONE = {"action": "nothing", "output": {"step": 20}}
TRAINED = {"action": "submitted", "attempt": 1, "output": {"step": 20}}
CUT_OFF = {"failed": True, "attempt": 1, "output": None}
LOST = {"failed": True, "attempt": 1, "lost": True}
REFUSED = {"failed": True, "msg": "Ray refuses."}
RETRYABLE = {**CUT_OFF, "retryable": True}
FINAL = {**CUT_OFF, "retryable": False}
UNKNOWN = {"failed": True, "msg": "Slurm does not answer."}
SKIPPED = {"skipped": True, "changed": False}
SECOND = {**CUT_OFF, "attempt": 2}


def names(known: dict[str, Any]) -> set[str]:
    """The decisions that are yes."""
    decided = ppo_round({"wait": True, **known})
    return {name for name, value in decided.items() if value is True}


@pytest.mark.parametrize(
    ("known", "yes"),
    [
        # Before the training: a cluster only for work that is left.
        ({"plan": OPEN}, "needs_cluster trains stops_if_used"),
        ({"plan": OPEN, "check": True}, "needs_cluster stops_if_used"),
        ({"plan": OPEN, "find_only": True}, "stops_if_used"),
        ({"plan": DONE}, "stops_if_used"),
        # The cluster is ours and unused until the training has an attempt in it.
        ({"plan": OPEN, "cluster": "submitted"}, "needs_cluster trains"),
        ({"plan": OPEN, "cluster": "resubmitted"}, "needs_cluster trains"),
        ({"plan": OPEN, "cluster": "replaced"}, "needs_cluster trains"),
        ({"plan": OPEN, "cluster": "attached"}, "needs_cluster trains stops_if_used"),
    ],
)
def test_before_the_training(known: dict[str, Any], yes: str) -> None:
    assert names(known) == set(yes.split())


@pytest.mark.parametrize(
    ("known", "yes"),
    [
        ({"training": TRAINED}, "stops_if_used"),
        ({"training": CUT_OFF}, "stops_if_used asks"),
        ({"training": CUT_OFF, "wait": False}, "stops_if_used"),
        ({"training": LOST}, "stops_if_used lost asks"),
        ({"training": REFUSED}, "refused"),
        # And once it was asked how it ended.
        ({"training": CUT_OFF, "end": RETRYABLE}, "again"),
        ({"training": CUT_OFF, "end": FINAL}, "stops_if_used asks failed"),
        ({"training": CUT_OFF, "end": UNKNOWN}, "stops_if_used asks failed"),
        ({"training": LOST, "end": TRAINED}, "stops_if_used lost asks"),
    ],
)
def test_after_the_training(known: dict[str, Any], yes: str) -> None:
    found = names({"plan": OPEN, "cluster": "submitted", **known})
    assert found - {"needs_cluster", "trains"} == set(yes.split())


@pytest.mark.parametrize(
    ("training", "yes"),
    [
        (CUT_OFF, ""),  # the first round's: the second has not trained, its cluster is unused
        (SECOND, "stops_if_used asks"),
        ({**TRAINED, "attempt": 2}, "stops_if_used"),
        (REFUSED, "refused"),
    ],
)
def test_the_end_of_a_round_does_not_count_in_the_next(training: dict[str, Any], yes: str) -> None:
    known = {"plan": OPEN, "cluster": "submitted", "training": training, "end": RETRYABLE}
    assert names(known) - {"needs_cluster", "trains", "again"} == set(yes.split())


@pytest.mark.parametrize(
    ("known", "result"),
    [
        ({"plan": OPEN}, OPEN),
        ({"plan": DONE, "training": SKIPPED, "end": SKIPPED}, DONE),
        ({"plan": OPEN, "training": TRAINED, "end": SKIPPED}, TRAINED),
        ({"plan": OPEN, "training": LOST, "end": TRAINED}, TRAINED),
        ({"plan": OPEN, "training": CUT_OFF, "end": FINAL}, FINAL),
        ({"plan": DONE, "training": CUT_OFF, "end": RETRYABLE}, DONE),
        ({}, {}),
    ],
)
def test_the_last_word_is_the_result(known: dict[str, Any], result: dict[str, Any]) -> None:
    assert ppo_round(known)["result"] == result
