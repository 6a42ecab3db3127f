"""Values of every type for every documented option: none of a wrong type passes, none ends in a
traceback."""

from __future__ import annotations

import datetime as dt
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from ansible_collections.mnrun.train.plugins.plugin_utils.option_faults import (
    placeholders,
    text_faults,
)
from ansible_collections.mnrun.train.plugins.plugin_utils.option_types import type_faults

from .test_validate import validate

ROOT = Path(__file__).parents[3]
SEED = 20_241_107
ZEROS = "\u0660\u0966\uff10\U0001d7ce"  # Arabic, Devanagari, full width, mathematical
EACH = 72  # random values for each option


def documented() -> dict[str, dict[str, Any]]:
    options: dict[str, dict[str, Any]] = {}
    for path in sorted(ROOT.glob("roles/*/meta/argument_specs.yml")):
        for entry in yaml.safe_load(path.read_text())["argument_specs"].values():
            options |= entry.get("options") or {}
    return options


OPTIONS = documented()


class Kind(NamedTuple):
    """Values that YAML, JSON or -e can give, and the types of options that such a value fits."""

    make: Callable[[random.Random], Any]
    fits: frozenset[str]


def kind(make: Callable[[random.Random], Any], fits: str = "") -> Kind:
    return Kind(make, frozenset(fits.split()))


def text(rng: random.Random) -> str:
    return "".join(rng.choice("abcdefghijklm-./_") for _ in range(rng.randint(1, 12)))


def digits(rng: random.Random, zero: str) -> str:
    return "".join(chr(ord(zero) + rng.randint(0, 9)) for _ in range(rng.randint(1, 4)))


def scalar(rng: random.Random) -> Any:
    return rng.choice([text(rng), rng.randint(-9, 9), True, None, 1.5, math.inf])


KINDS = {
    "text": kind(text, "str path"),
    "text of digits": kind(lambda rng: str(rng.randint(2, 99)), "str path int float"),
    "text of a float": kind(lambda rng: f"0.{rng.randint(1, 9)}", "str path float"),
    "text of a boolean": kind(
        lambda rng: rng.choice(["true", "No", "on", "off"]), "str path bool"),
    "word near a boolean": kind(lambda rng: rng.choice(["y", "true ", "tru", "t"]), "str path"),
    "empty text": kind(lambda _: "", "str path"),
    "int": kind(lambda rng: rng.randint(2, 30_000), "int float"),
    "negative": kind(lambda rng: -rng.randint(1, 9)),
    "negative text": kind(lambda rng: f"-{rng.randint(1, 9)}", "str path"),
    "huge": kind(lambda rng: rng.choice([1, -1]) * 10 ** rng.randint(20, 40)),
    "huge text": kind(lambda rng: "9" * rng.randint(20, 400), "str path"),
    "huge beyond text": kind(lambda _: int("f" * 5000, 16)),
    "float": kind(lambda rng: rng.randint(0, 9) + 0.5, "float"),
    "whole float": kind(lambda rng: float(rng.randint(2, 9)), "float"),
    "not finite": kind(lambda rng: rng.choice([math.inf, -math.inf, math.nan])),
    "text not finite": kind(lambda rng: rng.choice([".inf", "inf", "nan", "1e999"]), "str path"),
    "boolean": kind(lambda rng: rng.random() < 0.5, "bool"),
    "other digits": kind(lambda rng: digits(rng, rng.choice(ZEROS)), "str path"),
    "other numerals": kind(lambda rng: rng.choice(["²", "Ⅷ", "一", "1_000"]), "str path"),
    "nothing": kind(lambda _: None),
    "date": kind(lambda _: dt.date(2026, 1, 1)),
    "bytes": kind(lambda _: b"x"),
    "set": kind(lambda _: {"x"}),
    "texts": kind(lambda rng: [text(rng) for _ in range(rng.randint(1, 3))], "list"),
    "mixed list": kind(
        lambda rng: [text(rng), rng.choice([None, 2, True, math.inf, [], {}, b"x"])]),
    "nested list": kind(lambda rng: [[text(rng)]]),
    "mapping": kind(lambda rng: {f"k{rng.randint(1, 9)}": scalar(rng)}, "dict"),
    "mapping with other keys": kind(
        lambda rng: {rng.choice([1, 2.5, None, True, math.inf]): scalar(rng)}),
    "list in a mapping of numbers": kind(lambda rng: {1: [scalar(rng)]}),
}  # fmt: skip


def faults(name: str, value: Any, spec: dict[str, Any]) -> list[str]:
    """What the action reports for one value."""
    left_in = [f"placeholder {found}" for found, _text in placeholders(value, spec)]
    return left_in or type_faults(name, value, spec) or text_faults(name, value, spec)


def fits(label: str, spec: dict[str, Any]) -> bool:
    """Whether a value of this kind is of the option's type; choices and texts are not asked."""
    wanted = spec.get("type", "str")
    if wanted == "list" and spec.get("elements", "str") not in ("str", "path"):
        return False
    return wanted in KINDS[label].fits and not (wanted == "dict" and spec.get("options"))


def cases() -> Iterator[tuple[str, str, Any]]:
    rng = random.Random(SEED)  # noqa: S311 - nothing secret
    for name in OPTIONS:
        for label, each in KINDS.items():
            yield name, label, each.make(rng)
        for _ in range(EACH):
            label = rng.choice(list(KINDS))
            yield name, label, KINDS[label].make(rng)


def test_no_value_of_a_wrong_type_is_accepted_and_none_ends_in_a_traceback() -> None:
    tried, wrongly = 0, []
    for name, label, value in cases():
        tried += 1
        found = faults(name, value, OPTIONS[name])
        assert all(isinstance(fault, str) and len(fault) < 600 for fault in found)
        if not found and not fits(label, OPTIONS[name]):
            wrongly.append((name, label))
    assert tried >= 10_000
    assert wrongly == []


def test_a_value_of_the_right_type_is_accepted() -> None:
    refused = [
        (name, label, found)
        for name, label, value in cases()
        if fits(label, OPTIONS[name]) and not OPTIONS[name].get("choices")
        and (found := type_faults(name, value, OPTIONS[name]))
    ]  # fmt: skip
    assert [each for each in refused if "is too" not in each[2][0]] == []


def test_the_documented_defaults_are_accepted() -> None:
    defaults = {name: spec["default"] for name, spec in OPTIONS.items() if "default" in spec}
    fixed = {name: value for name, value in defaults.items() if "{{" not in str(value)}
    assert len(fixed) > 80
    assert [name for name, value in fixed.items() if faults(name, value, OPTIONS[name])] == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("sft_keep", {"newest": "x"}, ["newest: 'x'", "a whole number"]),
        ("sft_keep", {"best": "false"}, ["best: 'false'", "without quotes"]),
        ("sft_keep", {"newst": 2}, ["no key 'newst'", "did you mean newest?"]),
        ("ppo_keep", -1, ["-1 does not fit", "a mapping"]),
        ("sft_keep", {"every": -1}, ["every: -1 is too small"]),
        ("mnrun_train_files", {1: 2}, ["{1: 2}", "a list, each item a text"]),
        ("mnrun_train_files", "/a", ["'/a'", "a list", "as JSON"]),
        ("mnrun_train_files", ["/a", 2], ["item 2: 2", "put it in quotes"]),
        ("fetch_data_files", [{"source": "a", "target": "b"}], ["item 1: split: not set"]),
        ("sft_overrides", "trainer.total_epochs=2", ["a mapping", "as JSON"]),
        ("sft_overrides", None, ["has no value: write {}, or remove the line"]),
        ("mnrun_partition", 5, ["5 does not fit", "put it in quotes"]),
        ("mnrun_nodes", math.inf, ["inf does not fit", "a whole number"]),
        ("mnrun_nodes", 0, ["too small", "1 or more"]),
        ("mnrun_nodes", True, ["true does not fit"]),
        ("sft_rendezvous_port", "70000", ["too large", "65535"]),
        ("ray_cluster_relaunches", "3", ["'3' does not fit", "one of 0, 1, 2"]),
        ("environment_wandb_key", 5, ["(hidden) does not fit"]),
    ],
)
def test_a_fault_names_the_value_and_what_it_must_be(
    name: str, value: Any, words: list[str]
) -> None:
    (fault,) = type_faults(name, value, OPTIONS[name])
    assert all(word in fault for word in words), fault


def test_values_that_yaml_gives_come_through_ansible_as_one_list_of_faults(tmp_path: Path) -> None:
    """The action itself: what Ansible makes of such values before they are looked at."""
    for_type = {"int": math.inf, "float": math.nan, "list": {"1": 2}, "dict": -1, "bool": 2}
    bad = {name: for_type.get(spec.get("type", "str"), [7]) for name, spec in OPTIONS.items()}
    roles = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
    message = validate(tmp_path, {"bad": {**bad, "roles_of_this": roles}})["bad"]
    assert message.startswith(f"{len(bad)} variables must be set or corrected.")
    assert "Traceback" not in message
