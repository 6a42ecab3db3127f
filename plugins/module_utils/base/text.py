"""Texts for people."""

from __future__ import annotations

import re

# What a terminal obeys instead of showing it (ECMA-48, in 7 and in 8 bits): sequences that move,
# colour or erase; strings that set titles, links or the clipboard, ended or not; single escapes.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[PX^_\]]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]"
)
# Other control characters but the tab, and those that turn the direction of what follows.
_CONTROL = re.compile(
    r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb]"
)


def printable(text: str) -> str:
    """One line of text that comes from a job, a file or a program, safe to show on a terminal."""
    return _CONTROL.sub("", _SEQUENCE.sub("", text))


def sentence(text: str) -> str:
    """`text` with a capital letter at the beginning."""
    return text[:1].upper() + text[1:]
