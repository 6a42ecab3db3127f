"""The line of a stage that is followed: in any width, each second, and in a pipe."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any, TextIO

import pytest

from mnrun.contract import StageLine
from mnrun.display import Display, Style
from mnrun.live import Pace, StageView
from mnrun.terminal import Terminal, width_of
from tests.helpers.ptys import Pty
from tests.helpers.screens import Clock, Screen, result, said, task

NOW = 1_800_000_000.0


def state(step: int | None, **changes: Any) -> dict[str, Any]:
    """What the module answers about a job that has trained for ten minutes."""
    job = {"id": "12", "name": "osk-1", "phase": "running", "state": "RUNNING", "nodes": "n[1-2]"}
    timing = {"now": NOW, "since": NOW - 600, "limit": 7200, "step_seconds": 12.5, "gpus": 16,
              "gpu_hours": 2.67, "saved": NOW - 75}  # fmt: skip
    known = {
        "attempt": 1, "known": True, "detail": "", "seconds": 600.0, "why": "", "last_line": "",
        "job": {**job, **changes.pop("job", {})},
        "progress": {"step": step, "total": 160, "metrics": {"loss": 0.0421} if step else {}},
        "timing": {**timing, **changes.pop("timing", {})},
    }  # fmt: skip
    return {**known, **changes}


def queued(**timing: Any) -> dict[str, Any]:
    job = {"phase": "queued", "state": "PENDING", "reason": "Resources", "nodes": ""}
    return state(None, job=job, why="it waits for nodes to become free", timing=timing,
                 progress={"step": None, "total": None, "metrics": {}})  # fmt: skip


def event(known: dict[str, Any], text: str = "", stage: str = "sft") -> dict[str, Any]:
    """The line of the action plugin, as ansible-runner reports it."""
    progress, job = known["progress"], known["job"]
    steps = f" · step {progress['step']}/{progress['total']}" if progress["step"] else ""
    plain = text or f"job {job['id']} {job['state']}{steps}"
    return said(f"[{stage}] … {plain}\x1f{json.dumps(known)}\r\n")


def line(known: dict[str, Any], columns: int, passed: float = 0.0) -> str:
    return StageView(StageLine("sft", "job 12", True, known), 0.0).fitting(passed, columns)


def test_a_wide_terminal_shows_all() -> None:
    assert line(state(40), 159) == (
        "  [sft] job 12 RUNNING ━━━━━─────────────── 40/160 · ETA 25m 00s · limit in 1h 50m"
        " · 12.5 s/step · saved 1m 15s ago · loss 0.0421 · 2.7 GPU-h"
    )


def test_a_narrow_one_drops_metrics_before_times_and_all_but_the_steps_last() -> None:
    widths = range(159, 21, -1)
    lines = [line(state(40), columns) for columns in widths]
    assert all(width_of(text) <= columns for text, columns in zip(lines, widths, strict=True))
    order = ["loss", "GPU-h", "job 12", "saved", "s/step", "━", "limit", "ETA"]
    gone = [next(at for at, text in enumerate(lines) if part not in text) for part in order]
    assert gone == sorted(gone), "what is dropped first matters least"
    assert lines[-1] == "  [sft] RUNNING 40/160"
    assert line(state(40), 79).endswith("40/160 · ETA 25m 00s · limit in 1h 50m · 12.5 s/step")
    assert line(state(40), 39) == "  [sft] RUNNING 40/160 · ETA 25m 00s"


def test_it_goes_on_between_two_answers() -> None:
    text = line(state(40), 159, passed=5.0)
    assert "ETA 24m 55s · limit in 1h 49m" in text
    assert "saved 1m 20s ago" in text
    assert "ETA 24m 30s" in line(state(40), 159, passed=60.0), "the step is overdue"


def test_the_pace_is_that_of_the_steps_that_were_seen() -> None:
    pace = Pace()
    for at, step in ((0.0, 40), (3.0, 41), (13.0, 42), (23.0, 43)):
        pace.take(at, step, 1)
    assert pace.seconds == 10.0, "when the first one was made is not known"
    pace.take(30.0, 2, 2)
    assert pace.seconds is None, "another attempt"


def test_what_it_does_while_it_loads_is_shown() -> None:
    loading = state(None, last_line="Loading checkpoint shards: 50%", seconds=70.0,
                    progress={"step": None, "total": None, "metrics": {}},
                    timing={"step_seconds": None, "saved": None})  # fmt: skip
    assert line(loading, 99, passed=2) == (
        "  [sft] job 12 RUNNING 1m 12s · limit in 1h 49m · 2.7 GPU-h"
        " · Loading checkpoint shards: 50%"
    )
    assert line(loading, 39).startswith("  [sft] RUNNING 1m 10s")


def test_a_job_in_the_queue_says_why_and_when_it_is_expected_to_start() -> None:
    at = time.strftime("%H:%M", time.localtime(time.time() + 1200))
    text = line(queued(expected=NOW + 1200.0, step_seconds=None), 140)
    assert text.startswith(f"  [sft] job 12 PENDING 10m 00s · starts about {at} (in 20m 00s)")
    assert text.endswith(" · it waits for nodes to become free")
    assert "free" not in line(queued(expected=NOW + 1200.0), 60)
    assert line(queued(), 79).endswith("PENDING 10m 00s · it waits for nodes to become free")


def test_the_parts_of_a_conversion_have_no_pace() -> None:
    progress = {"step": 2, "total": 5, "metrics": {}, "doing": "compare the tensors"}
    text = line(state(2, progress=progress), 159)
    assert "2/5" in text
    assert "compare the tensors" in text
    assert "ETA" not in text


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Pty, TextIO]]:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "500")  # of another window
    screen = Pty(80)
    stream = os.fdopen(os.dup(screen.slave), "w", encoding="utf-8")
    yield screen, stream
    stream.close()
    screen.close()


@pytest.mark.parametrize("columns", [40, 80, 160])
def test_on_a_real_terminal_it_stays_one_line_and_its_last_state_is_left_once(
    terminal: tuple[Pty, TextIO], columns: int
) -> None:
    screen, stream = terminal
    screen.resize(columns)
    clock = Clock()
    display = Display(Terminal(stream), Style(), clock)
    for known in (queued(), *(state(step) for step in range(1, 160, 40))):
        display.handle(event(known))
        for _ in range(3):
            clock.now += 1
            display.tick()
            assert len(screen.rows) == 1
            assert len(screen.rows[0]) < columns
    done = state(160, job={"phase": "succeeded", "state": "COMPLETED"})
    display.handle(event(done))
    display.handle(result("ok", changed=True))
    display.end()
    assert screen.rows == ["  [sft] job 12 COMPLETED · step 160/160", "  ✓ Train"]


def test_it_fits_after_each_resize(terminal: tuple[Pty, TextIO]) -> None:
    screen, stream = terminal
    clock = Clock()
    display = Display(Terminal(stream), Style(), clock)
    display.handle(task("Train"))
    display.handle(event(state(40)))
    for columns in (160, 40, 100, 30, 80):
        screen.resize(columns)
        clock.now += 1
        display.tick()
        assert screen.rows == [line(state(40), columns - 1, clock.now)]
    display.end()
    assert screen.rows[0].startswith("  [sft] job 12 RUNNING · step 40/160")


def test_lines_that_stay_are_whole_and_above_it(terminal: tuple[Pty, TextIO]) -> None:
    screen, stream = terminal
    clock = Clock()
    display = Display(Terminal(stream), Style(), clock)
    display.handle(event(state(40)))
    display.handle(said("[sft] Job 12 ended as TIMEOUT."))
    display.handle({"event": "warning", "stdout": "[WARNING]: W&B has no key"})
    display.tick()
    assert screen.rows[:2] == ["  [sft] Job 12 ended as TIMEOUT.", "  ! W&B has no key"]
    assert len(screen.rows) == 3
    screen.resize(160)
    display.handle(event(state(3), stage="ppo"))
    assert [row[2:7] for row in screen.rows[2:]] == ["[sft]", "[ppo]"]


def test_the_cursor_is_never_hidden_nor_a_mode_changed(terminal: tuple[Pty, TextIO]) -> None:
    screen, stream = terminal
    display = Display(Terminal(stream), Style(), Clock())
    display.handle(event(state(40)))
    display.tick()
    display.end()
    screen.look()
    assert b"\x1b[?" not in screen.raw


@pytest.mark.parametrize(
    ("name", "value", "live"),
    [("TERM", "dumb", False), ("TERM", "", False), ("NO_COLOR", "1", True)],
)
def test_terminals_that_can_do_less(
    terminal: tuple[Pty, TextIO], monkeypatch: pytest.MonkeyPatch, name: str, value: str, live: bool
) -> None:
    screen, stream = terminal
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv(name, value)
    clock = Clock()
    display = Display(Terminal(stream), Style(), clock)
    display.handle(event(state(40)))
    clock.now = 1
    display.tick()
    screen.look()
    assert screen.raw.count(b"[sft]") == (2 if live else 1)
    assert (b"\x1b" in screen.raw) == live
    assert b"\x1b[3" not in screen.raw


def test_without_utf_8_the_bar_is_of_other_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    screen = Screen(tty=True, encoding="ascii")
    display = Display(Terminal(screen), Style(), Clock())
    display.handle(event(state(40)))
    assert "job 12 RUNNING =====............... 40/160 | ETA" in screen.rows()[0]
    assert screen.getvalue().isascii()


def piped(*steps: tuple[float, dict[str, Any]], until: float = 0.0, **style: Any) -> list[str]:
    """What a pipe gets: events at moments, with a tick each second."""
    screen, clock = Screen(tty=False), Clock()
    display = Display(Terminal(screen), Style(**style), clock)
    for at, known in steps:
        while clock.now < at:
            clock.now += 1
            display.tick()
        display.handle(event(known))
    while clock.now < until:
        clock.now += 1
        display.tick()
    display.end()
    return screen.rows()[:-1]


def test_in_a_pipe_there_is_a_line_for_each_five_percent() -> None:
    steps = [(float(step), state(step)) for step in range(1, 161)]
    rows = piped(*steps)
    shown = [int(row.partition("step ")[2].partition("/")[0]) for row in rows]
    assert shown == [1, *range(8, 161, 8)]


def test_in_a_pipe_there_is_a_line_each_minute_and_for_each_state() -> None:
    rows = piped((0.0, queued()), (150.0, state(1)), until=400.0)
    words = [row.split()[3] for row in rows]
    assert words == ["PENDING"] * 3 + ["RUNNING"] * 5
    assert not any("\x1b" in row or "━" in row for row in rows)


def test_what_came_last_is_printed_at_the_end_of_a_pipe_and_once() -> None:
    rows = piped((0.0, state(1)), (1.0, state(2)), (2.0, state(3)))
    assert [row.split(" · ")[1] for row in rows] == ["step 1/160", "step 3/160"]
    assert len(piped((0.0, state(1)), (1.0, state(160)))) == 2


def test_what_is_unknown_does_not_tick() -> None:
    unknown = state(40, known=False, detail="squeue is silent")
    text = "job 12 RUNNING when last known (squeue is silent)"
    view = StageView(StageLine("sft", text, True, unknown), 0.0)
    assert view.fitting(900.0, 159) == f"  [sft] {text}"
