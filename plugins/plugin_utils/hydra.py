"""Trainer options as override strings of hydra, quoted by the rules of its grammar."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

_PART = r"(?:[A-Za-z_$][\w$-]*|\d+)"
_DOTTED = rf"{_PART}(?:\.{_PART})*"
_GROUP = r"[A-Za-z_][\w-]*(?:/[A-Za-z_][\w-]*)+"
_OPTION = re.compile(rf"(\+\+?|~)?(?:{_DOTTED}|{_GROUP})(?:@{_DOTTED})?", re.ASCII)
_KEY = re.compile(r"[A-Za-z_][\w./-]*", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z_/][\w./@-]*", re.ASCII)
# PyYAML reads 1e-6 as text (YAML 1.1 wants 1.0e-6): a learning rate given so is a number.
_SCIENTIFIC = re.compile(r"[+-]?\d+(?:\.\d*)?[eE][+-]?\d+", re.ASCII)
_RESERVED = frozenset({"null", "true", "false", "inf", "nan"})


def hydra_overrides(options: Mapping[str, Any]) -> list[str]:
    """Give the override strings of `options`, in order; AnsibleFilterError for what has no form."""
    if not isinstance(options, Mapping):
        raise AnsibleFilterError(
            f"hydra_overrides wants a mapping of options, not {type(options).__name__}: "
            f"write one line `option: value` for each."
        )
    return [_override(name, value) for name, value in options.items()]


def _override(name: Any, value: Any) -> str:
    match = _OPTION.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise AnsibleFilterError(
            f"{name!r} is not the name of a trainer option: write it as in the trainer's "
            f"configuration, like data.train_batch_size (with + before it for a new one)."
        )
    if value is None and match.group(1) == "~":
        return str(name)
    return f"{name}={_value(value, str(name))}"


def _value(value: Any, where: str) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return repr(float(value))
    if isinstance(value, str):
        return _text(str(value))
    return _container(value, where)


def _container(value: Any, where: str) -> str:
    if isinstance(value, Mapping):
        pairs = [f"{_key(key, where)}:{_value(item, where)}" for key, item in value.items()]
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_value(item, where) for item in value) + "]"
    raise AnsibleFilterError(
        f"{where}: a value of type {type(value).__name__} cannot be given to the trainer: "
        f"write it as text, in quotes."
    )


def _key(key: Any, where: str) -> str:
    if isinstance(key, int) and not isinstance(key, bool):
        return str(int(key))
    text = str(key)
    if isinstance(key, str) and _KEY.fullmatch(text) and text.lower() not in _RESERVED:
        return text
    raise AnsibleFilterError(
        f"{where}: {key!r} cannot be a key of a mapping here: use letters, digits and _ . / -, "
        f"beginning with a letter."
    )


def _text(text: str) -> str:
    if _SCIENTIFIC.fullmatch(text):
        return repr(float(text))
    if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED:
        return text
    # In a quoted value a backslash counts only before a quote or at the end.
    escaped = re.sub(r"(?<!\\)(\\*)('|\Z)", _escape, text)
    return f"'{escaped}'"


def _escape(match: re.Match[str]) -> str:
    return match.group(1) * 2 + ("\\'" if match.group(2) else "")
