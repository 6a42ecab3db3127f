"""A small reader of JSON Schema: what our own schemas use, with messages of ours."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any, NamedTuple

Path = tuple[str | int, ...]
Rule = Mapping[str, Any]

_TYPES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "object": (lambda value: isinstance(value, Mapping), "a mapping"),
    "array": (lambda value: isinstance(value, list), "a list"),
    "string": (lambda value: isinstance(value, str), "a text"),
    "boolean": (lambda value: isinstance(value, bool), "true or false"),
    "number": (
        lambda value: isinstance(value, int | float) and not isinstance(value, bool),
        "a number",
    ),
    "integer": (
        lambda value: isinstance(value, int) and not isinstance(value, bool),
        "a whole number",
    ),
}
_SAMPLE = {"{step}", "{total}", "{epochs}", "{name}", "{value}"}


class Fault(NamedTuple):
    """What is wrong, and the keys that lead there."""

    path: Path
    text: str


class Schema:
    """Checks values against a schema. `what`: what the whole value is called."""

    def __init__(self, root: Rule, what: str = "the profile") -> None:
        self._root = root
        self._what = what

    def faults(self, value: Any) -> Iterator[Fault]:
        """All that is wrong with a value, except for what is missing in it. Null is allowed
        anywhere: it removes what another value has."""
        return self._faults(value, self._root, ())

    def missing(self, value: Any) -> Iterator[Fault]:
        """All that is required and not there."""
        return self._missing(value, self._root, ())

    def _rule(self, rule: Rule) -> Rule:
        reference = rule.get("$ref", "")
        return self._root["$defs"][reference.rpartition("/")[2]] if reference else rule

    def _faults(self, value: Any, rule: Rule, path: Path) -> Iterator[Fault]:
        rule = self._rule(rule)
        if value is None and path:
            return
        fits, words = _TYPES.get(rule.get("type", ""), (lambda _: True, ""))
        choices = rule.get("enum")
        if not fits(value):
            quote = ", in quotes" if rule.get("type") == "string" and _is_scalar(value) else ""
            yield Fault(path, f"{self._name(path)} is {_shown(value)}; it must be {words}{quote}")
        elif choices and value not in choices:
            near = difflib.get_close_matches(str(value), choices, n=1)
            hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(choices)}"
            yield Fault(path, f"{self._name(path)} is {_shown(value)}; {hint}")
        elif isinstance(value, int | float) and not _within(value, rule):
            yield Fault(path, f"{self._name(path)} is {value}, which does not fit: {_about(rule)}")
        elif isinstance(value, str):
            yield from (Fault(path, f"{self._name(path)} {text}") for text in _faulty(value, rule))
        elif isinstance(value, Mapping):
            yield from self._in_mapping(value, rule, path)
        elif isinstance(value, list):
            for number, item in enumerate(value):
                yield from self._faults(item, rule.get("items", {}), (*path, number))

    def _in_mapping(self, value: Mapping[Any, Any], rule: Rule, path: Path) -> Iterator[Fault]:
        known: Mapping[str, Rule] = rule.get("properties", {})
        others = rule.get("additionalProperties", True)
        for key, item in value.items():
            below = (*path, str(key))
            if not isinstance(key, str):
                text = "the key must be a text; put it in quotes"
                yield Fault(below, f"{self._name(below)}: {text}")
            elif key in known:
                yield from self._faults(item, known[key], below)
            elif isinstance(others, Mapping):
                yield from self._faults(item, others, below)
            elif not others:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
                of = self._what.replace("the ", "a ", 1)
                yield Fault(below, f"{self._name(below)} is not a key of {of}; {hint}")

    def _missing(self, value: Any, rule: Rule, path: Path) -> Iterator[Fault]:
        rule = self._rule(rule)
        if not isinstance(value, Mapping):
            return
        for name in rule.get("required", ()):
            if value.get(name) in (None, ""):
                yield Fault(path, f"{self._name((*path, name))} is not set")
        known, others = rule.get("properties", {}), rule.get("additionalProperties", True)
        for key, item in value.items():
            below = known.get(key, others if isinstance(others, Mapping) else {})
            yield from self._missing(item, below, (*path, key))

    def _name(self, path: Path) -> str:
        return ".".join(map(str, path)) or self._what


def _within(value: float, rule: Rule) -> bool:
    return bool(rule.get("minimum", value) <= value <= rule.get("maximum", value))


def _faulty(value: str, rule: Rule) -> Iterator[str]:
    """What is wrong with a text."""
    pattern = rule.get("pattern")
    if pattern and not re.search(pattern, value):
        yield f"is {_shown(value)}, which does not fit: {_about(rule)}"
    if rule.get("format") == "regex":
        for part in _SAMPLE:
            value = value.replace(part, "x")
        try:
            re.compile(value)
        except (re.error, OverflowError, RecursionError) as error:
            yield f"is not a regular expression ({error})"


def _about(rule: Rule) -> str:
    return str(rule.get("description", "")).rstrip(".")


def _is_scalar(value: Any) -> bool:
    return not isinstance(value, Mapping | list)


def _shown(value: Any) -> str:
    text = repr(str(value) if isinstance(value, date) else value)
    return text if len(text) <= 80 else f"{text[:80]}…"
