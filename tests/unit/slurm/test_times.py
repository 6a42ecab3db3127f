"""Slurm's forms of a duration."""

from __future__ import annotations

import math
import re

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.slurm.times import (
    explained,
    in_words,
    slurm_time,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400.0),
        ("1:30", 90.0),
        ("30:10", 1810.0),
        ("2:00:00", 7200.0),
        ("1-0", 86400.0),
        ("1-12", 129600.0),
        ("1-12:30", 131400.0),
        ("6-00:00:01", 518401.0),
        ("UNLIMITED", math.inf),
        ("infinite", math.inf),
        ("-1", math.inf),
        ("0", math.inf),
        ("0:00", math.inf),
        ("0-0", math.inf),
    ],
)
def test_every_form_is_read(text: str, seconds: float) -> None:
    assert slurm_time(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "soon", "1:2:3:4", "1-", "-2", "1 2", "1.5", "٣", "2h", "1--2"]
)
def test_anything_else_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        slurm_time(text)


def test_a_duration_in_words() -> None:
    assert in_words(7200 * 60) == "5 days"
    assert in_words(90061) == "1 day 1 hour 1 minute 1 second"
    assert in_words(math.inf) == "no limit"
    assert in_words(0) == "0 seconds"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("7200", "7200 minutes = 5 days"),
        ("1", "1 minute = 1 minute"),
        ("2:00:00", "2:00:00 = 2 hours"),
        ("0", "0 = no limit"),
    ],
)
def test_a_limit_is_shown_with_what_it_comes_to(text: str, said: str) -> None:
    assert explained(text) == said
