"""Options as the arguments of a program, in the syntax that a profile names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .hydra import hydra_overrides

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
OPTIONS_FILE = "options.json"


class Form(NamedTuple):
    """How a program gets its options."""

    arguments: list[str]  # not quoted for a shell
    variables: dict[str, str]
    files: dict[str, str]  # beside the script; a program gets their paths before its arguments


def formed(syntax: str, options: Mapping[str, Any]) -> Form:
    """Options in one of the forms of a profile. Raises ValueError for what has no form."""
    return _SYNTAX[syntax or "flags"](options)


def flags(options: Mapping[str, Any]) -> list[str]:
    """`--name value`, a list as several values; true is the flag alone, false and null nothing."""
    arguments: list[str] = []
    for name, value in options.items():
        if value is None or value is False:
            continue
        values = value if isinstance(value, list | tuple) else [value]
        arguments += [f"--{name}"] if value is True else [f"--{name}", *map(_text, values)]
    return arguments


def start_of(syntax: str) -> str | None:
    """What stands before NAME=VALUE; None for a syntax that has no such words."""
    return {"hydra": "", "flags": "--"}.get(syntax or "flags")


def resume_words(syntax: str, option: str) -> str:
    """The shell words by which a program is to resume from the folder in MNRUN_RESUME_FROM."""
    start = start_of(syntax)
    if not option or start is None:
        return ""
    # Not every parser of flags takes --NAME=VALUE.
    word = f'"{start}{option}" "' if start else f'"{option}='
    return f'${{MNRUN_RESUME_FROM:+{word}$MNRUN_RESUME_FROM"}}'


def _hydra(options: Mapping[str, Any]) -> Form:
    return Form(hydra_overrides(options), {}, {})


def _flags(options: Mapping[str, Any]) -> Form:
    return Form(flags(options), {}, {})


def _file(options: Mapping[str, Any]) -> Form:
    return Form([], {}, {OPTIONS_FILE: json.dumps(dict(options), indent=1) + "\n"})


def _env(options: Mapping[str, Any]) -> Form:
    for name in options:
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"{name!r} cannot be the name of an environment variable")
    return Form([], {name: _text(value) for name, value in options.items()}, {})


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value)
    return str(value)


_SYNTAX: dict[str, Callable[[Mapping[str, Any]], Form]] = {
    "hydra": _hydra,
    "flags": _flags,
    "file": _file,
    "env": _env,
}
