"""A terminal to look at, and the events that ansible-runner reports."""

from __future__ import annotations

import io
from typing import Any

from mnrun.display import Display, Style
from mnrun.terminal import Terminal


class Screen(io.StringIO):
    """A terminal that remembers what was written to it."""

    def __init__(self, tty: bool, encoding: str = "utf-8") -> None:
        super().__init__()
        self._tty = tty
        self._encoding = encoding

    def isatty(self) -> bool:
        return self._tty

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def rows(self) -> list[str]:
        """Return what a terminal would show of it."""
        lines = self.getvalue().split("\n")
        return [line.rpartition("\x1b[K")[2].rpartition("\r")[2] for line in lines]


class Clock:
    """A clock that stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def task(name: str) -> dict[str, Any]:
    return {"event": "playbook_on_task_start", "event_data": {"name": name}}


def play(name: str) -> dict[str, Any]:
    return {"event": "playbook_on_play_start", "event_data": {"name": name}}


def said(text: str) -> dict[str, Any]:
    return {"event": "verbose", "stdout": text}


def result(kind: str, task: str = "Train", **res: Any) -> dict[str, Any]:
    return {"event": f"runner_on_{kind}", "event_data": {"task": task, "host": "login", "res": res}}


def stats(**changed: int) -> dict[str, Any]:
    data = {"changed": changed, "processed": {"login": 1}}
    return {"event": "playbook_on_stats", "event_data": data}


def show(
    *events: dict[str, Any], tty: bool = False, encoding: str = "utf-8", **style: Any
) -> tuple[list[str], Display]:
    screen = Screen(tty, encoding)
    display = Display(Terminal(screen), Style(**style), Clock())
    assert [display.handle(event) for event in events] == [False] * len(events)
    display.end()
    return screen.rows()[:-1], display
