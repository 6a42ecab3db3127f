"""Options of a trainer by name: hydra's way to write them, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.plugin_utils.hydra import hydra_overrides

from mnrun.arguments import parse
from mnrun.cli import extra_vars
from mnrun.commands import COMMANDS
from mnrun.errors import UsageError
from mnrun.hydra_value import ValueFaultError, hydra_value
from tests.helpers.overrides import OVERRIDES

VALUES = [
    ("2e-5", 2e-5), ("-.5", -0.5), ("12", 12), ("1_000", 1000), ("007", "007"), ("True", True),
    ("NULL", None), ("", ""), ("gsm8k", "gsm8k"), ("a=b", "a=b"), (" two words ", "two words"),
    ("'12'", "12"), ("'it\\'s'", "it's"), ('"a,b"', "a,b"), ("a\\,b", "a,b"),
    ("'ends in \\\\'", "ends in \\"), ("[]", []), ("[ console , 'a b' ,1]", ["console", "a b", 1]),
    ("{a:{b:[1.5]}, c.d: x,3:z}", {"a": {"b": [1.5]}, "c.d": "x", 3: "z"}),
    ("${oc.env:HOME,'/tmp'}/m", "${oc.env:HOME,'/tmp'}/m"), ("s3://a/b", "s3://a/b"),
    ("-inf", -math.inf), ("~/model", "~/model"), ("1e-5x", "1e-5x"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), VALUES)
def test_a_value_is_read_as_hydra_reads_it(text: str, value: Any) -> None:
    read = hydra_value(text)
    assert (read, type(read)) == (value, type(value))


# A text like 1e-6 is a number to the trainer, and is written as one.
SAME = [pair for pair in OVERRIDES if not isinstance(pair[0], str) or pair[0][:1] != "1" or
        pair[0] == "12"]  # fmt: skip


@pytest.mark.parametrize(("value", "text"), SAME)
def test_what_is_given_to_the_trainer_is_read_back_as_the_same_value(value: Any, text: str) -> None:
    assert hydra_overrides({"a": value}) == [f"a={text}"]
    assert hydra_value(text) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1e-5,2e-5", "a sweep"),
        ("range(1,3)", "range() is not available"),
        ("[1,2", "']' is missing"),
        ("[1 2,[3]x]", "']' is missing"),
        ("{a}", "{key:value,key:value}"),
        ("'open", "is not closed"),
        ("${open", "is not closed"),
        ("it's", "in quotes"),
        ("'a' b", "left over"),
    ],
)
def test_what_is_not_one_value_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueFaultError, match=words.replace("(", r"\(").replace(")", r"\)")):
        hydra_value(text)


def options(*words: str) -> Any:
    parsed = parse(words)
    return extra_vars(parsed, COMMANDS[parsed.command]).get("mnrun_options")


def test_options_of_one_stage_are_named_as_the_trainer_names_them() -> None:
    assert options("sft", "optim.lr=2e-5", "+model.x=[a]") == {
        "sft": {"optim.lr": 2e-5, "+model.x": ["a"]}
    }
    assert options("ppo", "~critic.warmup", "critic.optim.lr=1e-5", "--run", "lr") == {
        "ppo": {"~critic.warmup": None, "critic.optim.lr": 1e-5}
    }
    assert options("sft") is None


def test_options_of_all_begin_with_their_stage() -> None:
    assert options("all", "sft.optim.lr=2e-5", "++ppo.critic.optim.lr=1e-5") == {
        "sft": {"optim.lr": 2e-5},
        "ppo": {"++critic.optim.lr": 1e-5},
    }


def test_they_may_stand_around_other_options() -> None:
    assert options("sft", "a=1", "--check", "b=2", "-e", "x=1", "c=3") == {
        "sft": {"a": 1, "b": 2, "c": 3}
    }


def test_all_faults_are_reported_at_once() -> None:
    with pytest.raises(UsageError) as refusal:
        parse(["all", "optim.lr=1", "sft.a=1,2", "sft.b=1", "+sft.b=2", "ppo.c", "=1"])
    lines = str(refusal.value).splitlines()
    assert lines == [
        "optim.lr=1: name the stage, sft.optim.lr or ppo.optim.lr, as mnrun all runs both.",
        "sft.a=1,2: several values, which hydra takes for a sweep: see mnrun help sweep.",
        "ppo.c: an option is written NAME=VALUE, +NAME=VALUE or ~NAME.",
        "=1: an option is written NAME=VALUE, +NAME=VALUE or ~NAME.",
        "sft.b has 2 values: sft.b=1, +sft.b=2. Give one.",
        "Nothing was started.",
    ]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["sft", "ppo.critic.optim.lr=1"], "it is an option of PPO"),
        (["ppo", "ppo.critic.optim.lr=1"], r"write it without ppo\."),
        (
            ["sft", "optim.lr=1", "-e", '{"sft_overrides": {"+optim.lr": 2}}'],
            r"sft.optim.lr is set by optim.lr=1 and by -e sft_overrides\.",
        ),
    ],
)
def test_an_option_in_the_wrong_place_is_refused(words: list[str], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse(words)
