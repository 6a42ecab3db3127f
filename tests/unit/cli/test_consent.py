"""A user is asked once before finished work is set aside; a script says --yes."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from mnrun import cli, consent
from mnrun.arguments import parse
from mnrun.commands import COMMANDS
from mnrun.terminal import Terminal


def variables(*words: str) -> dict[str, Any]:
    options = parse(words)
    return cli._variables(options, COMMANDS[options.command])


@pytest.fixture
def someone(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(consent, "can_ask", lambda: True)
    return monkeypatch


@pytest.mark.parametrize("command", ["all", "sft", "ppo"])
def test_what_trains_stops_before_finished_work_is_set_aside(command: str) -> None:
    assert variables(command) == {"mnrun_set_aside": False, "mnrun_asks": False}
    assert variables(command, "--yes") == {"mnrun_set_aside": True, "mnrun_asks": False}


def test_hours_count_only_where_someone_can_be_asked(someone: pytest.MonkeyPatch) -> None:
    assert variables("sft") == {"mnrun_set_aside": False, "mnrun_asks": True}
    assert variables("sft", "--yes")["mnrun_asks"] is False
    someone.setenv("MNRUN_YES", "1")
    assert variables("sft") == {"mnrun_set_aside": True, "mnrun_asks": False}
    someone.setenv("MNRUN_YES", "0")
    assert variables("sft")["mnrun_set_aside"] is False


def test_an_answer_that_is_given_as_a_variable_stays() -> None:
    assert variables("sft", "-e", "mnrun_set_aside=true") == {"mnrun_asks": False}


@pytest.mark.parametrize("words", [["plan"], ["sft", "--check"], ["ray", "start"], ["status"]])
def test_nothing_is_asked_where_nothing_is_set_aside(words: list[str]) -> None:
    assert variables(*words) == {}


@pytest.mark.parametrize(
    ("typed", "answer"),
    [("y\n", True), ("Yes\n", True), ("n\n", False), ("\n", False), ("", False)],
)
def test_only_a_yes_is_one(monkeypatch: pytest.MonkeyPatch, typed: str, answer: bool) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    assert consent.agreed(["sft would be trained again."], Terminal(out)) is answer
    assert out.getvalue() == "\nsft would be trained again.\n"
