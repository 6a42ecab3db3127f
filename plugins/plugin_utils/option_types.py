"""Whether a value is of the type that argument_specs documents: one reader for all options.

Ansible's own check converts what it can (a mapping to a text, `true` to 1), and what it made is not
what a role gets. So only a value counts that is of its type as it stands, and a text where
``-e name=value`` can give nothing else: for a number or a boolean.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Spec = Mapping[str, Any]

# What the filter `bool` reads in every version of ansible-core.
_BOOLEANS = frozenset({"true", "yes", "on", "1", "false", "no", "off", "0"})
_WHOLE = re.compile(r"[+-]?[0-9]{1,12}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,12}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})")
_MOST = 2**31 - 1
_LONGEST = 200  # characters of a value that are shown
_HIGHEST_PORT = 65535
_AT_LEAST_ONE = frozenset(
    {
        "mnrun_nodes", "mnrun_gpus_per_node", "sandbox_nodes",
        "sft_save_minutes", "ppo_save_minutes",
        "sft_lora_rank", "sft_lora_alpha", "ppo_lora_rank", "ppo_lora_alpha",
    }
)  # fmt: skip

_NAMES = {
    "str": "a text", "path": "a path", "int": "a whole number", "float": "a number",
    "bool": "true or false", "dict": "a mapping (`name: value` lines)", "list": "a list",
    "raw": "a value",
}  # fmt: skip
_EMPTY = {"str": '""', "path": '""', "list": "[]", "dict": "{}"}


def type_faults(name: str, value: Any, spec: Spec) -> list[str]:
    """What is wrong with an option's value by its type; keys and items of it by their names."""
    if value is None:
        return [f"has no value: write {_EMPTY.get(_type(spec), 'one')}, or remove the line"]
    if not _IS[_type(spec)](value):
        return [f"{_shown(value, spec)} does not fit: it must be {_expected(value, spec)}"]
    return list(_faults_inside(name, value, spec))


def _faults_inside(name: str, value: Any, spec: Spec) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from _mapping_faults(value, spec)
    elif isinstance(value, (list, tuple)):
        element = {**spec, "type": spec.get("elements", "str")}
        for number, item in enumerate(value, 1):
            yield from _named(f"item {number}", type_faults(name, item, element))
    elif not _is_choice(value, spec):
        yield f"{_shown(value, spec)} does not fit: it must be {_expected(value, spec)}"
    elif _type(spec) in ("int", "float"):
        yield from _size_faults(name, float(value))


def _mapping_faults(value: Mapping[Any, Any], spec: Spec) -> Iterator[str]:
    options: Mapping[str, Spec] = spec.get("options") or {}
    for key, item in value.items():
        if not isinstance(key, str):
            yield f"the key {key!r} does not fit: it must be a text; put it in quotes"
        elif options and key not in options:
            near = difflib.get_close_matches(key, list(options), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield f"has no key {key!r}, only {', '.join(options)}{hint}"
        elif options:
            yield from _named(key, _key_faults(key, item, options[key]))
    for key, option in options.items():
        if option.get("required") and value.get(key) in (None, ""):
            yield f"{key}: not set"


def _key_faults(key: str, item: Any, option: Spec) -> list[str]:
    """Inside a mapping a boolean is one: nothing forces anybody to write a text."""
    if _type(option) == "bool" and isinstance(item, str):
        return [f"{item!r} does not fit: it must be true or false, without quotes"]
    if item is None and option.get("required"):
        return []  # reported as missing
    return type_faults(key, item, option)


def _named(part: str, faults: list[str]) -> Iterator[str]:
    return (f"{part}: {fault}" for fault in faults)


def _size_faults(name: str, number: float) -> Iterator[str]:
    least = 1 if name in _AT_LEAST_ONE else 0
    most = _HIGHEST_PORT if name.endswith("_port") else _MOST
    if number < least:
        yield f"{number:.12g} is too small: it must be {least} or more"
    elif number > most:
        yield f"{number:.12g} is too large: it must be {most} or less"


def _type(spec: Spec) -> str:
    return str(spec.get("type", "str"))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    if isinstance(value, str):
        return bool(_WHOLE.fullmatch(value))
    # A larger one would be no number for Slurm, Ray or the trainer, and may be too large to show.
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**12


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return bool(_NUMBER.fullmatch(value))
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def _is_boolean(value: Any) -> bool:
    if isinstance(value, str):
        return value.lower() in _BOOLEANS
    return isinstance(value, int) and value in (0, 1)


_IS: dict[str, Callable[[Any], bool]] = {
    "str": _is_text,
    "path": _is_text,
    "int": _is_whole,
    "float": _is_number,
    "bool": _is_boolean,
    "list": lambda value: isinstance(value, (list, tuple)),
    "dict": lambda value: isinstance(value, Mapping),
    "raw": lambda _value: True,  # several types fit; who reads it says which
}


def _is_choice(value: Any, spec: Spec) -> bool:
    choices = spec.get("choices")
    if not choices:
        return True
    return (int(value) if _type(spec) == "int" else value) in choices


def _shown(value: Any, spec: Spec) -> str:
    if spec.get("no_log"):
        return "(hidden)"
    if isinstance(value, (bool, float)):
        return str(value).lower()
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of more than 4300 digits
        return "a number of thousands of digits"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _expected(value: Any, spec: Spec) -> str:
    kind = _type(spec)
    words = _NAMES[kind]
    if kind == "list" and spec.get("elements"):
        words += f", each item {_NAMES[spec['elements']]}"
    if spec.get("choices"):
        words += f", one of {', '.join(map(str, spec['choices']))}"
    if kind in ("list", "dict") and isinstance(value, str):
        brackets = "[…]" if kind == "list" else "{…}"
        return f"""{words}; with -e, as JSON: -e '{{"NAME": {brackets}}}'"""
    scalar = not isinstance(value, (str, Mapping, list, tuple))
    return f"{words}; put it in quotes" if kind in ("str", "path") and scalar else words
