"""The options that are kept with a run: what is read, what an added one changes in the file."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.mnrun.train.plugins.plugin_utils.kept_options import (
    options_over,
    read,
    with_more,
)


@pytest.mark.parametrize(
    ("site", "later", "result"),
    [
        ({"a": 1, "b": 2}, [{"a": 3}], {"b": 2, "a": 3}),
        ({"+a": 1}, [{"a": 3}], {"+a": 3}),
        ({"a": 1}, [{"++a": 3}, {"a": 4}], {"++a": 4}),
        ({"a": 1}, [{"~a": None}], {"~a": None}),
        ({"+a": 1}, [{"~a": None}], {}),
        ({"~a": None}, [{"a": 2}], {"a": 2}),
        ({"a": 1}, [{}, {"+a": [1]}], {"+a": [1]}),
    ],
)
def test_a_later_option_replaces_the_earlier_one_whatever_its_sign(
    site: dict[str, Any], later: list[dict[str, Any]], result: dict[str, Any]
) -> None:
    assert options_over(site, *later) == result


def test_the_first_options_make_a_file_with_a_comment() -> None:
    text, options = with_more("", {"sft": {"optim.lr": 2e-5, "+a.b": "1e-5"}})
    assert options == {"sft": {"optim.lr": 2e-5, "+a.b": "1e-5"}}
    assert text.startswith("# Options of the trainers for this run")
    assert text.endswith("sft:\n  optim.lr: 2.0e-05\n  +a.b: 1e-5\n")
    assert read(text, "f").options == options


EDITED = """\
# mine
sft:
  # from the paper
  optim.lr: 1.0e-5  # was 2e-5
  "+model.x": [1, 2]

ppo:
  critic.optim.lr: 3.0e-6
"""


def test_what_a_user_wrote_stays_where_another_option_is_added() -> None:
    text, _ = with_more(EDITED, {"sft": {"trainer.total_epochs": 3}, "ppo": {"critic.optim.lr": 1}})
    assert text == EDITED.replace("3.0e-6", "1").replace(
        "2]\n\n", "2]\n\n  trainer.total_epochs: 3\n"
    )


def test_an_option_with_another_sign_takes_the_place_of_the_old_one() -> None:
    text, options = with_more(EDITED, {"sft": {"~model.x": None, "model.y": {"a": "b c"}}})
    assert options["sft"] == {"optim.lr": 1e-5, "model.y": {"a": "b c"}}
    assert "model.x" not in text
    assert "# from the paper" in text


@pytest.mark.parametrize(
    "text",
    [
        "sft: {optim.lr: 1}\n",
        "sft:\n      optim.lr: 1\n      a: |\n        two\n        lines\n",
        "'sft':\n  optim.lr: 1\n",
        "sft:\nppo: {}\n",
        "x: &x {optim.lr: 1}\n".replace("x: &x", "sft: &x") + "ppo: *x\n",
    ],
)
def test_a_file_of_another_form_gets_the_option_too(text: str) -> None:
    before = yaml.safe_load(text)["sft"] or {}
    after, options = with_more(text, {"sft": {"b": "it's: #1"}})
    assert options["sft"] == {**before, "b": "it's: #1"}
    assert read(after, "f").options == options


def test_the_same_option_again_changes_nothing() -> None:
    assert with_more(EDITED, {"sft": {"optim.lr": 1e-5}})[0] == EDITED
    assert with_more("", {})[0] == ""


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("sft: [a]\nppo: 1\n", ["f:1: sft must be a mapping", "f:2: ppo must be a mapping"]),
        ("dpo: {}\nsft:\n  1: 2\n", ["f:1: 'dpo' is neither", "f:3: 1 is not the name"]),
        ("sft:\n  a: 1\n  a: 2\n", ["f:3: sft.a is written twice"]),
        ("- a\n", ["f:1: it must be a mapping with sft and ppo"]),
        ("sft: {a: 1\n", ["f:2: it is not YAML"]),
    ],
)
def test_what_is_wrong_with_a_file_has_its_line(text: str, faults: list[str]) -> None:
    found = read(text, "f")
    assert found.options == {}
    assert [
        fault[: len(start)] for fault, start in zip(found.faults, faults, strict=True)
    ] == faults
