"""Texts for people: one format for each kind of value."""

from __future__ import annotations

import re
import time
from typing import Sequence

# What a terminal obeys instead of showing it (ECMA-48, in 7 and in 8 bits): sequences that move,
# colour or erase; strings that set titles, links or the clipboard, ended or not; single escapes.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[PX^_\]]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]"
)
# Other control characters but the tab, those that turn the direction of what follows, and those
# that are not seen at all.
_CONTROL = re.compile(
    r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb"
    r"\xad\u180e\u200b\u2060-\u2065\ufeff\U000e0000-\U000e007f]"
)


_LONGEST_LINE = 24 * 1024  # characters: more than a trainer writes, and far more than can be read


def printable(text: str) -> str:
    """One line of text that comes from a job, a file or a program, safe to show on a terminal. Of
    one that is too long to be one, its beginning."""
    if len(text) > _LONGEST_LINE:
        text = f"{text[:_LONGEST_LINE]}…"
    return _CONTROL.sub("", _SEQUENCE.sub("", text))


def printable_lines(text: str) -> str:
    """The same of a text of several lines."""
    return "\n".join(map(printable, text.split("\n")))


def sentence(text: str) -> str:
    """`text` with a capital letter at the beginning."""
    return text[:1].upper() + text[1:]


def plural(number: int, noun: str) -> str:
    """`1 file`, `2 files`, `1,200 files`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def size(count: float) -> str:
    """Bytes in units of 1000, as disks are sold: `512 B`, `1.06 MB`, `19.8 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:  # what would be rounded to 1000 has the next unit
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB" if count < 999.5 else f"{count:,.0f} TB"


def moment(at: float, now: float) -> str:
    """A moment that may be on another day: `14:05`, or `Nov 28 14:05`."""
    there, here = time.localtime(at), time.localtime(now)
    return time.strftime("%H:%M" if there[:3] == here[:3] else "%b %d %H:%M", there)


def duration(seconds: float) -> str:
    """`4.2 s`, `42 s`, `1m 05s`, `2h 03m`."""
    seconds = max(0.0, seconds)
    if seconds < 59.5:
        return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f} s"
    minutes, rest = divmod(max(60, int(seconds)), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours}h {minutes_left:02d}m" if hours else f"{minutes}m {rest:02d}s"
