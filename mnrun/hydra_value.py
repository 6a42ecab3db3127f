"""A value as hydra writes it on a command line, read as plain data.

Text of hydra's grammar in, a value of YAML out; `plugins/plugin_utils/hydra.py` is the way back.
"""

from __future__ import annotations

import re
from typing import Any

_INT = re.compile(r"[+-]?(?:0|[1-9][0-9]*(?:_[0-9]+)*)", re.ASCII)
_FLOAT = re.compile(
    r"[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][+-]?[0-9]+)?|[+-]?(?:inf|nan)",
    re.ASCII | re.IGNORECASE,
)
_WORDS = {"null": None, "true": True, "false": False}
_CALL = re.compile(r"([A-Za-z_]\w*)\(")


class ValueFaultError(Exception):
    """A text that is not a value; the message says what to write."""


def hydra_value(text: str) -> Any:
    """Return the value: None, a boolean, a number, a text, a list or a mapping.

    Raises:
        ValueFaultError: it is not one value of hydra's grammar.
    """
    reader = _Reader(text)
    value = reader.value(stop="")
    if reader.rest().startswith(","):
        raise ValueFaultError("several values, which hydra takes for a sweep: see mnrun help sweep")
    if reader.rest():
        raise ValueFaultError(f"{reader.rest()!r} is left over; put a text in quotes")
    return value


class _Reader:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def rest(self) -> str:
        self._at += len(self._text[self._at :]) - len(self._text[self._at :].lstrip())
        return self._text[self._at :]

    def value(self, stop: str) -> Any:
        """Read a value that ends at the end, at a comma, or at one of the characters `stop`."""
        rest = self.rest()
        if rest[:1] in ("'", '"'):
            return self._quoted(rest[0])
        if rest.startswith("["):
            return self._items("]", lambda: self.value("]"))
        if rest.startswith("{"):
            return dict(self._items("}", self._pair))
        return _plain(self._unquoted(stop))

    def _items(self, end: str, item: Any) -> list[Any]:
        found: list[Any] = []
        self._at += 1
        while not self.rest().startswith(end):
            found.append(item())
            if self.rest().startswith(","):
                self._at += 1
            elif not self.rest().startswith(end):
                raise ValueFaultError(f"{end!r} is missing; in the shell, quote the whole option")
        self._at += 1
        return found

    def _pair(self) -> tuple[Any, Any]:
        key, colon, _ = self.rest().partition(":")
        if not colon or set(key) & set(",{}[]'\""):
            raise ValueFaultError("a mapping is written {key:value,key:value}")
        self._at += len(key) + 1
        return _plain(key.strip()), self.value("}")

    def _quoted(self, mark: str) -> str:
        body = re.compile(rf"{mark}((?:\\.|[^{mark}\\])*){mark}", re.DOTALL)
        found = body.match(self._text, self._at)
        if not found:
            raise ValueFaultError(f"the quote {mark} is not closed")
        self._at = found.end()
        # A backslash counts only before a quote or at the end.
        return re.sub(
            rf"(\\+)({mark}|\Z)",
            lambda one: "\\" * (len(one[1]) // 2) + one[2],
            found[1],
        )

    def _unquoted(self, stop: str) -> str:
        start = self._at
        while self._at < len(self._text) and self._text[self._at] not in f",{stop}":
            if self._text.startswith("${", self._at):
                self._at = _end_of_reference(self._text, self._at)
            elif self._text[self._at] in "[]{}'\"":
                raise ValueFaultError(f"{self._text[self._at]!r} in a text: put the text in quotes")
            elif self._text[self._at] == "\\":
                self._at += 1
            self._at += 1
        text = self._text[start : self._at].strip()
        call = _CALL.match(text)
        if call:
            raise ValueFaultError(f"{call[1]}() is not available here: write the value itself")
        return re.sub(r"\\([\\()\[\]{}:=, \t])", r"\1", text)


def _end_of_reference(text: str, at: int) -> int:
    """Where the brace of a ${…} is closed, which may hold others."""
    depth = 0
    for end in range(at, len(text)):
        depth += (text[end] == "{") - (text[end] == "}")
        if text[end] == "}" and not depth:
            return end
    raise ValueFaultError("the brace of ${ is not closed")


def _plain(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _INT.fullmatch(text):
        return int(text.replace("_", ""))
    return float(text) if _FLOAT.fullmatch(text) else text
