"""`mnrun status --watch`: what is drawn, how it ends, and what it leaves of the terminal."""

from __future__ import annotations

import json
import os
import termios
from collections.abc import Iterator
from typing import Any, TextIO

import pytest

from mnrun import cli
from mnrun.terminal import Terminal
from mnrun.watch import Screen
from tests.helpers.ptys import Pty
from tests.helpers.screens import Clock, said
from tests.helpers.statuses import stage_status


def answer(*steps: int, **changes: Any) -> dict[str, Any]:
    stages = [
        stage_status("sft", {"id": "12", "state": "RUNNING"},
                     {"step": step, "total": 160, "metrics": {}})
        for step in steps
    ]  # fmt: skip
    found = {"stages": stages, "damaged": [], "relay": [], "pause": 10.0, **changes}
    return said(f"[status] … \x1f{json.dumps(found)}")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Pty, TextIO]]:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("COLUMNS", raising=False)
    screen = Pty(80)
    stream = os.fdopen(os.dup(screen.slave), "w", encoding="utf-8")
    yield screen, stream
    stream.close()
    screen.close()


def test_each_answer_takes_the_place_of_the_one_before(terminal: tuple[Pty, TextIO]) -> None:
    screen, stream = terminal
    clock = Clock()
    with Screen(Terminal(stream), "site osk", False, screen.slave, clock) as watched:
        assert not watched.active
        assert watched.take(answer(40))
        clock.now = 3
        assert watched.tick()
        assert screen.rows[0] == "site osk · 3 s ago · every 10 s · q ends"
        assert screen.rows[3].startswith("sft    RUNNING  40/160")
        assert watched.take(answer(41))
        assert screen.rows[3].startswith("sft    RUNNING  41/160")
        assert len(screen.rows) == 5
        watched.take(said("[status] … no connection; trying again in 2 s"))
        assert "no connection; trying again in 2 s" in screen.rows[0]


def test_it_fits_after_a_resize(terminal: tuple[Pty, TextIO]) -> None:
    screen, stream = terminal
    with Screen(Terminal(stream), "site osk", False, None, Clock()) as watched:
        watched.take(answer(40, relay=["Relay: " + "x" * 200]))
        for columns, lines in ((40, 5), (160, 24), (60, 4)):
            screen.resize(columns, lines)
            watched.tick()
            screen.look()
            assert len(screen.screen.display) == lines
            assert screen.screen.display[0].startswith("site osk · 0 s ago")
            assert screen.screen.display[2].startswith("STAGE")


@pytest.mark.parametrize("key", [b"q", b"Q"])
def test_q_ends_it_and_the_terminal_is_as_before_with_the_last_table(
    terminal: tuple[Pty, TextIO], key: bytes
) -> None:
    screen, stream = terminal
    before = termios.tcgetattr(screen.slave)
    with Screen(Terminal(stream), "site osk", False, screen.slave, Clock()) as watched:
        watched.take(answer(40))
        assert termios.tcgetattr(screen.slave) != before
        os.write(screen.master, b"x")
        assert watched.tick()
        os.write(screen.master, key)
        assert not watched.tick()
    assert watched.quit
    assert termios.tcgetattr(screen.slave) == before
    screen.look()
    left = screen.raw.partition(b"\x1b[?1049l")[2].decode().splitlines()
    assert left[1].startswith("sft    RUNNING  40/160")


def test_an_error_leaves_the_terminal_as_it_was_too(terminal: tuple[Pty, TextIO]) -> None:
    screen, stream = terminal
    before = termios.tcgetattr(screen.slave)

    def interrupted() -> None:
        with Screen(Terminal(stream), "site", False, screen.slave, Clock()) as watched:
            watched.take(answer(40))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert termios.tcgetattr(screen.slave) == before
    screen.look()
    assert screen.raw.count(b"\x1b[?1049h") == screen.raw.count(b"\x1b[?1049l") == 1


def test_before_the_first_answer_nothing_is_drawn(terminal: tuple[Pty, TextIO]) -> None:
    screen, stream = terminal
    with Screen(Terminal(stream), "site", False, screen.slave, Clock()) as watched:
        assert not watched.take(said("[ERROR]: no such host"))
        assert watched.tick()
    assert screen.rows == []


@pytest.mark.parametrize("words", [["status", "--watch"], ["status", "--watch", "5", "-o", "json"]])
def test_where_the_output_goes_elsewhere_it_is_refused_with_what_scripts_use(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*words, "-i", "sandbox"]) == 2
    said_ = capsys.readouterr().err
    assert "In a script:  mnrun wait STAGE, or mnrun status -o json" in said_
