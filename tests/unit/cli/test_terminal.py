"""What comes from a job's log cannot command a terminal."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base import logfile, text
from hypothesis import given
from hypothesis import strategies as st

from mnrun import terminal
from mnrun.terminal import Terminal
from tests.helpers.ptys import Pty

ROOT = Path(__file__).parents[3]
FILTERS = pytest.mark.parametrize("printable", [text.printable, terminal.printable])
HOSTILE = {
    "title": "a\x1b]0;evil\x07b",
    "title, other end": "a\x1b]2;evil\x1b\\b",
    "title, 8 bits": "a\x9d0;evil\x9cb",
    "clipboard": "a\x1b]52;c;cm0gLXJm\x07b",
    "link": "a\x1b]8;;http://x/\x1b\\b\x1b]8;;\x1b\\",
    "reset": "a\x1bcb",
    "device control": "a\x1bP1$r0m\x1b\\b",
    "colours": "a\x1b[38;5;1mb\x1b[m",
    "8-bit control": "a\x9b2Jb",
    "clear": "a\x1b[2J\x1b[Hb",
    "private mode": "a\x1b[?1049hb",
    "keyboard": "a\x1b[>4;2mb",
    "character set": "a\x1b(0b",
    "bell and backspace": "a\x07\x08\x7fb",
    "direction": "a\u202e\u2066\u200fb",
    "what is not seen": "a\u200b\ufeff\U000e0041\xadb",
    "line separators": "a\u2028\x85\x0b\x0cb",
    "application string": "a\x1b_Gf=100;AAAA\x1b\\b",
}


@FILTERS
@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE)
def test_only_the_text_is_left(printable: Callable[[str], str], line: str) -> None:
    assert printable(line) == "ab"


@FILTERS
def test_text_in_any_script_stays(printable: Callable[[str], str]) -> None:
    kept = "\tstep:1 - loss 0.5 │ 数学 é 👩‍💻 a→b [0m 100%"
    assert printable(kept) == kept


@given(st.text(st.characters(max_codepoint=0xA5) | st.sampled_from("\u202e\u2066\x1b")))
def test_both_filters_agree_and_leave_nothing_to_obey(line: str) -> None:
    assert text.printable(line) == terminal.printable(line)
    assert not any(ord(sign) < 32 and sign != "\t" for sign in text.printable(line))
    assert "\x1b" not in text.printable(line)


@FILTERS
@pytest.mark.parametrize("piece", ["\x1b]", "\x1b[1;", "\x9b0", "\x1bP\x07", "a"])
def test_a_line_of_a_megabyte_takes_no_time(printable: Callable[[str], str], piece: str) -> None:
    line = piece * (1_000_000 // len(piece))
    begun = time.process_time()
    printable(line)
    # Quadratic would be minutes.
    assert time.process_time() - begun < 5


def test_a_log_is_read_without_what_a_terminal_obeys() -> None:
    assert logfile.clean_lines("50%\r100%\x1b]0;x\x07 done\n\x1bc\n") == ["100% done"]


@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE)
def test_a_terminal_shows_the_text_and_our_colours(line: str) -> None:
    stream = io.StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    screen = Terminal(stream)
    for show in (screen.line, screen.bottom, screen.note):
        show(line)
    assert "evil" not in stream.getvalue()
    assert set(stream.getvalue()) <= set("ab\n\r\x1b[K")


def test_colours_are_ours_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = io.StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    screen = Terminal(stream)
    screen.line(f"\x1b[32mall done\x1b[0m {screen.style('bad', 'red')} \x00{'0' * 16}32m")
    assert stream.getvalue() == f"all done \x1b[31mbad\x1b[0m {'0' * 16}32m\n"


@pytest.mark.parametrize(
    ("environ", "utf8"),
    [
        ({"LANG": "C"}, False),
        ({"LC_ALL": "POSIX", "LANG": "en_US.UTF-8"}, False),
        ({}, False),
        ({"LANG": "C.UTF-8"}, True),
        ({"LANG": "xx_YY.UTF-8"}, True),  # as ssh hands it on from a machine that has it
        ({"LANG": "C", "PYTHONUTF8": "1"}, True),
    ],
)
def test_a_terminal_without_utf_8_gets_ascii_and_a_pipe_stays_as_it_was(
    environ: dict[str, str], utf8: bool
) -> None:
    """As a process of its own: Python looks at the locale when it starts."""
    program = "import sys; from mnrun.terminal import Terminal; Terminal(sys.stdout).line('✓ ━')"
    command = [sys.executable, "-c", program]
    settings = {"PATH": os.environ["PATH"], "TERM": "xterm", **environ}
    screen = Pty(80)
    subprocess.run(command, env=settings, stdout=screen.slave, check=True, cwd=ROOT)
    shown = screen.rows
    screen.close()
    assert shown == ["✓ ━" if utf8 else "+ ="]
    piped = subprocess.run(command, env=settings, capture_output=True, check=True, cwd=ROOT)
    assert piped.stdout.decode() == "✓ ━\n"
