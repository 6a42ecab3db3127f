"""Options of a trainer by their names on the command line: optim.lr=2e-5, +a.b=c, ~a."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mnrun.errors import UsageError
from mnrun.hydra_value import ValueFaultError, hydra_value
from mnrun.variables import read

VARIABLE = "mnrun_options"
"""Carries them to the playbooks: options by stage, which keep them with the run."""

_SECTIONS = ("sft", "ppo")
_NAME = re.compile(r"(?P<sign>\+\+?|~|)(?P<name>[A-Za-z_][\w./@$-]*)", re.ASCII)


class _Option(NamedTuple):
    typed: str
    section: str
    sign: str
    name: str
    value: Any

    @property
    def title(self) -> str:
        return f"{self.section}.{self.name}"


def named_options(
    command: str, words: Sequence[str], extra_vars: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return the options by section ("sft", "ppo"), each under the name that hydra knows.

    Args:
        command: whose options they are: sft, ppo, or one of several stages, where each name
            begins with its stage.
        words: as typed.
        extra_vars: values of -e, which must not set one of them too.

    Raises:
        UsageError: all that is wrong with them.
    """
    found, faults = [], []
    for word in words:
        try:
            found.append(_option(command, word))
        except ValueFaultError as fault:
            faults.append(f"{word}: {fault}.")
    faults += _twice(found, extra_vars)
    if faults:
        raise UsageError("\n".join([*faults, "Nothing was started."]))
    options: dict[str, dict[str, Any]] = {}
    for one in found:
        options.setdefault(one.section, {})[f"{one.sign}{one.name}"] = one.value
    return options


def _option(command: str, word: str) -> _Option:
    left, equals, text = word.partition("=")
    found = _NAME.fullmatch(left)
    if not found or not (equals or found["sign"] == "~"):
        raise ValueFaultError("an option is written NAME=VALUE, +NAME=VALUE or ~NAME")
    sign, name = found["sign"], found["name"]
    section, _, rest = name.partition(".")
    if command in _SECTIONS:
        if section in _SECTIONS:
            raise ValueFaultError(_wrong_stage(command, section, word))
        section, rest = command, name
    elif section not in _SECTIONS or not rest:
        raise ValueFaultError(
            f"name the stage, sft.{name} or ppo.{name}, as mnrun {command} runs both"
        )
    return _Option(word, section, sign, rest, hydra_value(text) if equals else None)


def _wrong_stage(command: str, section: str, word: str) -> str:
    if section == command:
        return f"write it without {section}., as mnrun {command} has no other options"
    return f"it is an option of {section.upper()}: mnrun {section} or mnrun all {word}"


def _twice(found: Sequence[_Option], extra_vars: Sequence[str]) -> Iterator[str]:
    by_name: dict[str, list[str]] = {}
    for one in found:
        by_name.setdefault(one.title, []).append(one.typed)
    for title, typed in by_name.items():
        if len(typed) > 1:
            yield f"{title} has {len(typed)} values: {', '.join(typed)}. Give one."
    for value in extra_vars if found else ():
        for section, options in _overrides(value):
            for name in options:
                title = f"{section}.{str(name).lstrip('+~')}"
                if title in by_name:
                    yield f"{title} is set by {by_name[title][0]} and by -e {section}_overrides."


def _overrides(value: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The options in a value of -e; those of a file are in it, and override these."""
    given = {} if value.startswith("@") else read(value)
    for section in _SECTIONS:
        options = given.get(f"{section}_overrides")
        if isinstance(options, Mapping):
            yield section, options
