"""Lines on a screen: permanent ones, and one at the bottom that is overwritten."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
from collections.abc import Mapping
from typing import TextIO
from unicodedata import east_asian_width

_ASCII = str.maketrans(
    {
        "✓": "+",
        "✗": "x",
        "•": "-",
        "·": "|",
        "…": ".",
        "▸": ">",
        "—": "-",
        "→": "->",
        "━": "=",
        "─": ".",
    }
)
_COLOURS = {"red": "31", "green": "32", "yellow": "33", "bold": "1", "dim": "2"}
_CLEAR = "\r\x1b[K"
# As in the collection's module_utils/base/text.py, which the command line cannot import everywhere;
# a test compares both.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[PX^_\]]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]"
)
_CONTROL = re.compile(
    r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb"
    r"\xad\u180e\u200b\u2060-\u2065\ufeff\U000e0000-\U000e007f]"
)
_LONGEST_LINE = 24 * 1024  # characters, as there


class Terminal:
    """A stream with a bottom line.

    If the stream is not a terminal, each new text of the bottom line is a line of its own.
    Characters that the stream's encoding does not have are replaced by ASCII ones.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.gone = False
        """The reader is gone (a closed pipe, a closed window): nothing more can be shown."""
        dumb = os.environ.get("TERM", "") in ("", "dumb")
        self.live = stream.isatty() and not dumb
        self._plain = self.stream.isatty() and not _is_utf8(os.environ)
        self._colour = self.live and "NO_COLOR" not in os.environ
        self._bottom = self._kept = ""
        self._mark = secrets.token_hex(8)

    def style(self, text: str, colour: str) -> str:
        """Return `text` in a colour (a key of _COLOURS), or as it is where colours do not work.

        Only this terminal understands the result: a text from elsewhere cannot choose a colour.
        """
        mark = f"\0{self._mark}"
        return f"{mark}{_COLOURS[colour]}m{text}{mark}0m" if self._colour else text

    def command(self, text: str) -> None:
        """Write what this terminal is to obey; texts in it are `fitting` ones."""
        self._write(text)

    def fitting(self, text: str) -> str:
        """Return a line as it is drawn: harmless, and as much of it as fits."""
        return _fit(self._harmless(text), self.columns - 1)

    def line(self, text: str = "") -> None:
        """Print a permanent line; the bottom line stays below it."""
        text = self._harmless(text)
        if self._bottom and self.live:
            self._write(f"{_CLEAR}{text}\n")
            self._draw(self._bottom)
        else:
            self._write(f"{text}\n")

    @property
    def columns(self) -> int:
        """The width, at this moment. What the terminal says counts before $COLUMNS, which does not
        follow when a window is resized."""
        return self.size.columns

    @property
    def size(self) -> os.terminal_size:
        """The width and the height, at this moment."""
        try:
            own = os.get_terminal_size(self.stream.fileno())
        except (OSError, ValueError):
            own = os.terminal_size((0, 0))
        return own if own.columns and own.lines else shutil.get_terminal_size()

    def bottom(self, text: str, kept: str = "") -> None:
        """Make `text` the bottom line, in place of the current one; `kept` is what stays of it, if
        that is not the same."""
        text = self._harmless(text)
        if self.live:
            self._draw(text)
        elif text != self._bottom:
            self._write(f"{text}\n")
        self._bottom, self._kept = text, self._harmless(kept) or text

    def note(self, text: str) -> None:
        """Show `text` at the bottom of a terminal; elsewhere, print nothing."""
        text = self._harmless(text)
        if self.live:
            self._draw(text)
            self._bottom = self._kept = text

    def keep(self) -> None:
        """Make the bottom line permanent."""
        if self._bottom and self.live:
            self._write(f"{_CLEAR}{self._kept}\n")
        self._bottom = ""

    def drop(self) -> None:
        """Erase the bottom line."""
        if self._bottom and self.live:
            self._write(_CLEAR)
        self._bottom = ""

    def _harmless(self, text: str) -> str:
        """Return a line with our colours, and nothing else to obey."""
        parts = re.split(rf"\x00{self._mark}(\d+)m", text)
        return "".join(f"\x1b[{one}m" if at % 2 else printable(one) for at, one in enumerate(parts))

    def _draw(self, text: str) -> None:
        # A line that wraps cannot be erased with a carriage return.
        self._write(f"{_CLEAR}{_fit(text, self.columns - 1)}")

    def _write(self, text: str) -> None:
        encoding = "ascii" if self._plain else self.stream.encoding or "ascii"
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            text = text.translate(_ASCII).encode(encoding, "replace").decode(encoding)
        try:
            self.stream.write(text)
            self.stream.flush()
        except OSError:  # no reader: that must not end a run that is about to submit a job
            self.gone = True


def _is_utf8(environ: Mapping[str, str]) -> bool:
    """Whether a terminal is one for UTF-8: in the locale C, Python writes UTF-8 all the same."""
    if not sys.flags.utf8_mode:
        return True  # then the stream's encoding is that of the locale
    # Python itself sets LC_CTYPE where that is C.
    named = environ.get("LC_ALL") or environ.get("LANG") or ""
    return "utf" in named.lower() or environ.get("PYTHONUTF8") == "1"


def printable(text: str) -> str:
    """Return a line without what a terminal obeys instead of showing it; of one that is too long
    to be read, the beginning."""
    text = text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}…"
    return _CONTROL.sub("", _SEQUENCE.sub("", text))


def width_of(text: str) -> int:
    """Return how many columns a text takes; a Chinese or Japanese character takes two."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def _fit(text: str, columns: int) -> str:
    """Return as much of `text` as fits."""
    used = cut = 0
    for at, character in enumerate(text):
        if used < columns:
            cut = at
        used += width_of(character)
        if used > columns:
            return f"{text[:cut]}…"
    return text
