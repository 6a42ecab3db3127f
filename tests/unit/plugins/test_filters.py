"""The filters: what they give, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.mnrun.train.plugins.filter.expand_home import expand_home
from ansible_collections.mnrun.train.plugins.filter.sbatch_options import sbatch_options
from ansible_collections.mnrun.train.plugins.plugin_utils.hydra import hydra_overrides

from tests.helpers.overrides import OVERRIDES


@pytest.mark.parametrize(("value", "text"), OVERRIDES)
def test_a_value_is_quoted_by_hydras_grammar(value: Any, text: str) -> None:
    assert hydra_overrides({"a.b": value}) == [f"a.b={text}"]


@pytest.mark.parametrize(
    "name",
    ["a", "+a.b", "++a.b", "~a.b", "a/b", "db/x@pkg.y", "a.0.b", "$a", "optim.lr-scale", "_a"],
)
def test_hydras_forms_of_a_name_pass(name: str) -> None:
    assert hydra_overrides({name: 1}) == [f"{name}=1"]


def test_a_removal_needs_no_value() -> None:
    assert hydra_overrides({"~trainer.logger": None}) == ["~trainer.logger"]


@pytest.mark.parametrize("name", ["", "a b", "a=b", "-a", "+++a", "a..b", "a.b.", "é", "a\n", 1.5])
def test_a_bad_name_is_an_error_that_shows_it(name: Any) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        hydra_overrides({name: 1})
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"a.b": {"x y": 1}}, ["a.b", "'x y'"]),
        ({"a.b": {"true": 1}}, ["a.b", "'true'"]),
        ({"a.b": {True: 1}}, ["a.b", "True"]),
        ({"a.b": {1, 2}}, ["a.b", "set", "as text"]),
        (["a=b"], ["mapping", "list"]),
    ],
)
def test_a_value_without_a_form_is_an_error(options: Any, words: list[str]) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        hydra_overrides(options)
    assert all(word in str(caught.value) for word in words)


def test_home_is_put_in_at_the_start_only_and_everywhere_inside() -> None:
    value = {"a": ["~/x", "~", "~bob/x", "x/~/y", 3, None], "~/k": {"b": "~/y"}}
    assert expand_home(value, "/home/alice/") == {
        "a": ["/home/alice/x", "/home/alice", "~bob/x", "x/~/y", 3, None],
        "~/k": {"b": "/home/alice/y"},
    }


@pytest.mark.parametrize("home", ["", "~", "home", None])
def test_a_home_that_is_none_is_refused(home: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="home"):
        expand_home("~/x", home)


def test_of_two_values_of_an_option_the_later_counts() -> None:
    role = {"nodes": 1, "ntasks": 1}
    options = sbatch_options(role, "gpu", {"ntasks": 2, "mem": 0}, {"mem": "64G", "partition": ""})
    assert options == {"partition": "", "nodes": 1, "ntasks": 2, "mem": "64G"}
    assert role == {"nodes": 1, "ntasks": 1}


def test_options_that_are_not_a_mapping_are_an_error() -> None:
    with pytest.raises(AnsibleFilterError, match=r"mapping.*--nodes=2"):
        sbatch_options({}, "gpu", {}, "--nodes=2")
