"""`mnrun status --watch`: the table of stages on the whole screen, until q or Ctrl-C."""

from __future__ import annotations

import argparse
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from mnrun import closing, contract, sites
from mnrun.commands import Command
from mnrun.display import Display, Style
from mnrun.errors import UsageError
from mnrun.runner import Playbook, run_playbook
from mnrun.stages import stage_table
from mnrun.terminal import Terminal

_WHOLE, _BACK = "\x1b[?1049h", "\x1b[?1049l"  # a screen of our own, and the one from before
_HOME, _REST_OF_LINE, _REST = "\x1b[H", "\x1b[K", "\x1b[J"

Event = Mapping[str, Any]


class Screen:
    """The whole terminal, from the first answer to the end."""

    def __init__(
        self,
        terminal: Terminal,
        where: str,
        verbose: bool,
        keys: int | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`where`: the site and the run; `keys`: a terminal's descriptor, to read keys from."""
        self.quit = False
        self._terminal, self._where, self._verbose = terminal, where, verbose
        self._keys, self._clock = keys, clock
        self._found: Event | None = None
        self._at = 0.0
        self._note = ""
        self._before: list[Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:  # fmt: skip
        """Give the terminal back as it was, with the last table on it."""
        if self._found is None:
            return
        if self._before and self._keys is not None:
            with suppress(termios.error):
                termios.tcsetattr(self._keys, termios.TCSADRAIN, self._before)
        self._terminal.command(_BACK)
        for line in self._table():
            self._terminal.line(line)

    @property
    def active(self) -> bool:
        """Whether there has been an answer."""
        return self._found is not None

    def take(self, event: Event) -> bool:
        """Take in an event of ansible-runner; False if it is not about what is shown."""
        lines = event.get("stdout", "").splitlines() if event["event"] == "verbose" else []
        found = [about for about in map(contract.stage_line, lines) if about]
        for about in found:
            self._note = about.text
            if about.state and "stages" in about.state:
                self._begin()
                self._found, self._at, self._note = about.state, self._clock(), ""
        if self.active:
            self._draw()
        return bool(found) and self.active

    def tick(self) -> bool:
        """A second has passed; False if a user wants no more."""
        if self.active:
            self.quit = self.quit or "q" in self._typed().lower()
            self._draw()
        return not (self.quit or self._terminal.gone)

    def _begin(self) -> None:
        if self.active:
            return
        self._terminal.drop()
        self._terminal.command(_WHOLE)
        if self._keys is not None:
            with suppress(termios.error):
                self._before = termios.tcgetattr(self._keys)
                tty.setcbreak(self._keys)

    def _typed(self) -> str:
        if self._keys is None or not select.select([self._keys], [], [], 0)[0]:
            return ""
        typed = os.read(self._keys, 1024)
        self._keys = self._keys if typed else None  # no one is there any more
        return typed.decode(errors="replace")

    def _table(self) -> list[str]:
        found: Event = self._found or {}
        rows = stage_table(found["stages"], self._verbose)
        return [*rows, *(f"! {text}" for text in found["damaged"]), *found["relay"]]

    def _draw(self) -> None:
        age = self._clock() - self._at
        state = self._note or f"{age:.0f} s ago · every {(self._found or {})['pause']:.0f} s"
        title = self._terminal.style(f"{self._where} · {state} · q ends", "dim")
        rows = [title, "", *self._table()]
        text = f"{_REST_OF_LINE}\n".join(
            self._terminal.fitting(row) for row in rows[: max(1, self._terminal.size.lines - 1)]
        )
        self._terminal.command(f"{_HOME}{text}{_REST_OF_LINE}{_REST}")


def watch(options: argparse.Namespace, command: Command, playbook: Playbook) -> int:
    """Show the stages until a user wants no more; mnrun's exit code (0 after q).

    Raises:
        UsageError: standard output is not a terminal on which lines can be replaced.
    """
    terminal = Terminal(sys.stdout)
    if not terminal.live or options.mnrun_output:
        raise UsageError(
            "--watch draws on a terminal, and the output is to go elsewhere.\n"
            "In a script:  mnrun wait STAGE, or mnrun status -o json"
        )
    where = sites.title(playbook.inventory, options.run)
    display = Display(terminal, Style(options.verbose, headings=False))
    start, keys = time.monotonic(), sys.stdin.fileno() if sys.stdin.isatty() else None
    with Screen(terminal, where, options.verbose > 0, keys) as screen:

        def handle(event: Event) -> bool:
            return False if screen.take(event) else display.handle(event)

        def tick() -> bool:
            return screen.tick() if screen.active else display.tick()

        code, signal = run_playbook(playbook, handle, tick)
    display.end()
    if screen.active and signal:
        return 0 if screen.quit else 128 + signal
    ending = closing.Ending(
        command, options, playbook.inventory, code, signal, time.monotonic() - start
    )
    return closing.close(ending, display.outcome, terminal)
