"""Whose turn it is among relays, row by row, and what is said about them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.filter.cancel_plan import cancel_plan
from ansible_collections.mnrun.train.plugins.filter.relay_turn import relay_turn
from ansible_collections.mnrun.train.plugins.plugin_utils import relay_turns as turns
from ansible_collections.mnrun.train.plugins.plugin_utils.relay_turns import (
    MOST_DEATHS,
    Turn,
    ended_well,
    lines,
    may_hold,
    place,
    turn,
)

from mnrun import relay as program

NO_ONE = {"number": 0, "stage": "", "job": "", "host": ""}
_PHASES = {"RUNNING": "running", "PENDING": "queued", "CANCELLED": "cancelled",
           "COMPLETED": "succeeded", "COMPLETING": "ending"}  # fmt: skip


def entry(
    stage: str, job: str, state: str, code: int | None = None, ran: float = 900.0, **more: Any
) -> dict[str, Any]:
    waits = state == "PENDING"
    about = {
        "id": job,
        "state": state,
        "phase": _PHASES.get(state, "failed"),
        "exit_code": code,
        "reason": more.pop("reason", ""),
        "nodes": more.pop("nodes", "" if waits else "node1"),
        "start": None if waits else float(job) * 1000,
        "end": None if waits else float(job) * 1000 + ran,
    }
    return {"stage": stage, "known": True, "detail": "", "labels": {}, "job": about, **more}


def heir(job: str, after: str, state: str = "PENDING", **more: Any) -> dict[str, Any]:
    return entry("relay-2", job, state, labels={"after": after}, **more)


def test_the_first_relay_continues_the_run() -> None:
    assert turn([entry("relay", "1", "RUNNING")], "relay", "", 0).goes


@pytest.mark.parametrize("state", ["RUNNING", "COMPLETING"])
def test_another_relay_is_left_alone(state: str) -> None:
    stages = [entry("relay", "3", "RUNNING"), heir("2", "1", state)]
    assert not turn(stages, "relay", "", 0).goes


@pytest.mark.parametrize(
    ("state", "code", "goes"),
    [
        ("COMPLETED", 0, False),
        ("FAILED", 1, False),
        ("FAILED", program.IDLE, False),
        ("CANCELLED", 0, False),
        ("FAILED", program.RENEWED, True),
        ("FAILED", 137, True),
        ("TIMEOUT", 0, True),
        ("NODE_FAIL", 1, True),
        ("PREEMPTED", 0, True),
        ("OUT_OF_MEMORY", 1, True),
    ],
)
def test_an_heir_takes_over_only_what_is_left(state: str, code: int, goes: bool) -> None:
    stages = [entry("relay", "1", state, code), heir("2", "1", "RUNNING")]
    assert turn(stages, "relay-2", "1", 0).goes is goes


def test_an_heir_asks_again_while_it_is_not_known_how_the_one_before_ended() -> None:
    lost = entry("relay", "1", "RUNNING") | {"known": False, "detail": "no answer"}
    found = turn([lost, heir("2", "1", "RUNNING")], "relay-2", "1", 0)
    assert (found.goes, found.waits) == (False, True)


def test_an_heir_ends_where_the_run_was_handed_over_again() -> None:
    stages = [entry("relay", "3", "RUNNING"), heir("2", "1", "RUNNING")]
    assert not turn(stages, "relay-2", "1", 0).goes
    assert not turn([heir("2", "1", "RUNNING")], "relay-2", "1", 0).goes


def third(job: str, after: str) -> dict[str, Any]:
    return entry("relay-3", job, "PENDING", labels={"after": after})


@pytest.mark.parametrize(
    ("stages", "ended"),
    [
        ([entry("relay", "1", "RUNNING"), heir("2", "1"), third("3", "2")], ["relay-3", "relay-2"]),
        ([entry("relay", "1", "RUNNING"), heir("2", "1")], ["relay-2"]),
        ([entry("relay", "1", "RUNNING"), heir("2", "0")], []),
        # Slurm took its node for dead: the next one works, and what waits is that one's.
        ([entry("relay", "1", "NODE_FAIL"), heir("2", "1", "RUNNING"), third("3", "2")], []),
        ([entry("relay", "4", "PENDING", labels={"after": "3"}), heir("2", "1", "RUNNING"),
          third("3", "2")], []),
    ],
)  # fmt: skip
def test_a_relay_that_has_finished_ends_only_what_waits_for_its_end(
    stages: list[dict[str, Any]], ended: list[str]
) -> None:
    me = {"stage": "relay", "job": "1", "after": "", "deaths": 0}
    found = {"stages": stages, "holder": NO_ONE}
    assert relay_turn(found, me)["heirs"] == ended


@pytest.mark.parametrize(
    ("stages", "held", "goes", "waits"),
    [
        ([], NO_ONE, True, False),
        ([entry("relay", "5", "RUNNING")], ("relay", "5"), True, False),  # its own
        ([entry("relay-3", "1", "RUNNING")], ("relay-3", "1"), False, False),
        ([entry("relay-3", "1", "NODE_FAIL", 1)], ("relay-3", "1"), True, False),
        # Another one of that stage has come since, so that one is over.
        ([entry("relay-3", "4", "PENDING")], ("relay-3", "1"), True, False),
        ([entry("relay-3", "1", "RUNNING") | {"known": False}], ("relay-3", "1"), False, True),
        # No record of it, or a claim that cannot be read: that is not known.
        ([], ("relay-3", "1"), False, True),
        ([entry("relay-3", "1", "FAILED", 1)], ("", ""), False, True),
    ],
)
def test_a_relay_holds_the_run_only_if_the_one_that_held_it_is_over(
    stages: list[dict[str, Any]], held: Any, goes: bool, waits: bool
) -> None:
    if isinstance(held, tuple):
        held = {"number": 3, "stage": held[0], "job": held[1], "host": "node1"}
    found = may_hold(stages, held, Turn(True), "5")
    assert (found.goes, found.waits) == (goes, waits), found
    assert may_hold(stages, held, Turn(False, "why"), "5") == (False, "why", False, 0)


def test_a_holder_without_a_record_is_no_riddle() -> None:
    held = {"number": 3, "stage": "relay-3", "job": "1", "host": "node1"}
    assert "move .mnrun/relay/holders" in may_hold([], held, Turn(True), "5").why


def test_a_relay_that_was_killed_comes_back_also_after_the_first() -> None:
    stages = [
        entry("relay", "4", "PENDING", labels={"after": "3"}),
        heir("2", "1", "RUNNING"),
        third("3", "2"),
    ]
    me = {"stage": "relay-2", "job": "2", "after": "1", "deaths": 3}
    held = {"number": 2, "stage": "relay-2", "job": "2", "host": "node1"}
    found = relay_turn({"stages": stages, "holder": held}, me)
    assert (found["goes"], found["deaths"]) == (True, 3)
    # Not if another one has claimed the run since.
    later = {"number": 3, "stage": "relay-3", "job": "3", "host": "node1"}
    assert not relay_turn({"stages": stages, "holder": later}, me)["goes"]


def test_quick_deaths_are_bounded() -> None:
    stages = [entry("relay", "1", "FAILED", 137, ran=5), heir("2", "1", "RUNNING")]
    assert turn(stages, "relay-2", "1", MOST_DEATHS - 1).deaths == MOST_DEATHS
    assert not turn(stages, "relay-2", "1", MOST_DEATHS).goes
    long = [entry("relay", "1", "FAILED", 137, ran=5000), heir("2", "1", "RUNNING")]
    assert turn(long, "relay-2", "1", MOST_DEATHS).deaths == 1
    renewed = [entry("relay", "1", "FAILED", program.RENEWED, ran=5), stages[1]]
    assert turn(renewed, "relay-2", "1", MOST_DEATHS).deaths == 0


@pytest.mark.parametrize(
    ("stages", "stage", "void"),
    [
        ([], "relay", []),
        ([entry("relay", "1", "RUNNING"), heir("2", "1")], "relay", []),
        ([entry("relay", "1", "FAILED", 137), heir("2", "1", "RUNNING")], "relay-2", []),
        ([entry("relay", "1", "FAILED", 137), heir("2", "1")], "relay-2", []),
        ([entry("relay", "1", "COMPLETED", 0), heir("2", "1")], "relay", ["relay-2"]),
        ([entry("relay", "1", "CANCELLED", 0), heir("2", "1")], "relay", ["relay-2"]),
        ([entry("relay", "1", "PENDING")], "relay", []),
        ([entry("relay", "1", "COMPLETED", 0), heir("2", "1", "CANCELLED")], "relay", []),
    ],
)
def test_a_run_is_handed_over_to_the_relay_that_is_alive(
    stages: list[dict[str, Any]], stage: str, void: list[str]
) -> None:
    assert place(stages) == (stage, void)


ENDED_WAITING = heir("2", "1", "CANCELLED", nodes="")


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ([entry("relay", "1", "RUNNING"), heir("2", "1")], "job 1 on node1.*Job 2 takes over"),
        ([entry("relay", "1", "PENDING", reason="Priority")], r"1 waits in the queue \(Prior"),
        ([entry("relay", "1", "CANCELLED", 0), ENDED_WAITING], "1 was cancelled"),
        ([entry("relay", "1", "CANCELLED", 0), heir("2", "1", "FAILED", code=11)], "1 was canc"),
        ([entry("relay", "1", "COMPLETED", 0), ENDED_WAITING], "1 finished the run"),
        ([entry("relay", "1", "FAILED", 1)], "job 1 ended, and the run is not done"),
        ([entry("relay", "1", "NODE_FAIL", 1)], "ended as NODE_FAIL, and no other follows"),
    ],
)
def test_it_is_told_how_it_is(stages: list[dict[str, Any]], words: str) -> None:
    (line,) = lines(stages)
    assert re.search(words, line), line


def test_the_ring_goes_round() -> None:
    stages = [entry("relay-3", "3", "FAILED", 137), entry("relay", "4", "RUNNING")]
    assert turn([*stages, heir("5", "4")], "relay", "3", 0).goes
    third = entry("relay-3", "3", "PENDING", labels={"after": "2"})
    waits = [entry("relay", "1", "RUNNING"), heir("2", "1"), third]
    (line,) = lines(waits)
    assert "Job 2 takes over" in line
    assert cancel_plan({"stages": waits, "damaged": []})["relays"] == [
        "relay-3",
        "relay-2",
        "relay",
    ]
    over = [entry("relay", "1", "COMPLETED", 0), *waits[1:]]
    assert place(over) == ("relay", ["relay-3", "relay-2"])
    assert place([entry("relay", "1", "FAILED", 137), *waits[1:]]) == ("relay-2", [])
    # The second died before it could do anything.
    dead = [entry("relay", "1", "FAILED", 137), heir("2", "1", "FAILED", code=137), third]
    assert turn(dead, "relay-3", "2", 0).goes


def test_a_run_without_a_relay_says_nothing() -> None:
    assert list(lines([entry("sft", "1", "RUNNING")])) == []
    assert not ended_well([])


def test_mnrun_cancel_ends_what_waits_before_the_relay() -> None:
    found = {"stages": [entry("relay", "1", "RUNNING"), heir("2", "1")], "damaged": []}
    assert cancel_plan(found)["relays"] == ["relay-2", "relay"]
    assert cancel_plan(found, "relay")["relays"] == ["relay-2", "relay"]
    none = {"ppo": False, "jobs": [], "relays": [], "login": False}
    assert cancel_plan(found, "sft") == none
    alone = {"stages": [login("RUNNING")], "damaged": []}
    assert cancel_plan(alone) == cancel_plan(alone, "relay") == {**none, "login": True}
    assert cancel_plan(alone, "sft") == none


def login(state: str, code: int | None = None, **more: Any) -> dict[str, Any]:
    found = entry("relay-login", "7", state, code, nodes="login1", **more)
    found["job"]["id"] = "login1.example.4711.99.0123abcd"
    return found


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ([login("RUNNING")], "process 4711 on login1: it continues.*if that host restarts"),
        ([login("COMPLETED", 0)], "process 4711 finished the run"),
        ([login("CANCELLED", 143)], "process 4711 was cancelled, and nothing new starts"),
        ([login("GONE", reason="login1 was restarted")], "4711 on login1 is gone: login1 was re"),
        ([login("FAILED", 1)], "process 4711 ended, and the run is not done"),
        # The newest one is looked at, of whichever kind.
        ([entry("relay", "1", "COMPLETED", 0), login("FAILED", 1)], "process 4711 ended"),
        ([entry("relay", "9", "COMPLETED", 0), login("FAILED", 1)], "job 9 finished the run"),
    ],
)
def test_it_is_told_how_it_is_with_one_on_a_login_node(
    stages: list[dict[str, Any]], words: str
) -> None:
    for one in stages:
        one["job"]["start"] = 8000.0 if one["stage"] == "relay-login" else one["job"]["start"]
    (line,) = lines(stages)
    assert re.search(words, line), line


def test_relays_of_two_kinds_know_of_each_other() -> None:
    working = [entry("relay", "1", "RUNNING"), login("RUNNING")]
    assert not turn(working, "relay-login", "", 0).goes
    assert not turn(working, "relay", "", 0).goes
    assert place([], login=True).stage == "relay-login"
    assert place([login("RUNNING")]).stage == "relay-login"
    assert place([entry("relay", "1", "RUNNING")], login=True).stage == "relay"
    assert place([entry("relay", "1", "PENDING")], login=True).stage == "relay"
    assert place([entry("relay", "1", "COMPLETED", 0), login("GONE")], login=True) == (
        "relay-login",
        [],
    )
    assert place([login("GONE")]).stage == "relay"


def test_the_program_ends_with_the_codes_that_are_read() -> None:
    for name in ("DONE", "FAILED", "RENEWED", "IDLE"):
        assert getattr(program, name) == getattr(turns, name)
    assert program._STAGES == turns.STAGES
