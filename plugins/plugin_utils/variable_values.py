"""Options that are missing, of the wrong type, or that still contain a placeholder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible.errors import AnsibleError

from .option_faults import placeholders, text_faults, texts
from .option_types import type_faults
from .origin import at
from .trainer_choice import logs_to_wandb

OF_WANDB = ("environment_wandb_entity", "environment_wandb_project")
# A value that depends on the result of a task cannot be checked before it.
_WAITS_FOR_A_RESULT = re.compile(r"'\w+_result' is undefined")


@dataclass
class _Reported:
    """What was reported already, so that an option derived from it is not named as well."""

    placeholders: set[str] = field(default_factory=set)  # with the place where each was written
    texts: set[str] = field(default_factory=set)  # values that hold what may not be in them

    def holds(self, value: Any) -> bool:
        """Whether a reported text is part of this value."""
        return any(text in str(value) for text in self.texts)


def value_faults(
    known: Mapping[str, Any], wanted: Mapping[str, Any], templar: Any
) -> Iterator[str]:
    """Options that are missing, of the wrong type, or that still contain a placeholder."""
    reported = _Reported()
    unused = {name for name in OF_WANDB if not logs_to_wandb(known, templar)}

    def late(name: str) -> tuple[bool, bool]:
        # A fault is reported where the value was written, not where it is used.
        compound = wanted[name].get("type") in ("dict", "list")
        return compound, any("{{" in text for text in texts(known.get(name)))

    for name in sorted(set(wanted) - unused, key=late):
        yield from _option(name, wanted[name], known, templar, reported)


def _option(
    name: str, spec: Mapping[str, Any], known: Mapping[str, Any], templar: Any,
    reported: _Reported,
) -> Iterator[str]:  # fmt: skip
    try:
        value = templar.template(known[name]) if name in known else None
    except AnsibleError as error:
        if _WAITS_FOR_A_RESULT.search(error.message):
            return
        yield f"{name}{_about(spec)}{at(known[name])}: {_why(error.message)}."
        return
    if value in (None, "", []) and spec.get("required"):
        yield f"{name}{_about(spec)}: not set. {_mend(name)}"
    elif name in known:
        left_in = placeholders(value, spec)
        yield from _placeholder_faults(name, spec, left_in, reported)
        faults = [] if left_in else type_faults(name, value, spec)
        faults = faults or _new_text_faults(name, value, spec, reported)
        yield from (f"{name}{_about(spec)}{at(known[name])}: {fault}." for fault in faults)


def _new_text_faults(
    name: str, value: Any, spec: Mapping[str, Any], reported: _Reported
) -> list[str]:
    """What is wrong with the texts in a value, unless it was reported for another option."""
    faults = text_faults(name, value, spec)
    if not faults or reported.holds(value):
        return []
    reported.texts.update(text for text in texts(value) if text_faults(name, text, spec))
    return faults


def _placeholder_faults(
    name: str, spec: Mapping[str, Any], left_in: list[tuple[str, str]], reported: _Reported
) -> Iterator[str]:
    for placeholder, text in left_in:
        place = at(text)
        # Several options may refer to one: it is reported where it was written, once.
        once = f"{placeholder} {place or name}"
        if once not in reported.placeholders:
            reported.placeholders.add(once)
            start = f"{name}{_about(spec)}{place}: still the placeholder {placeholder}."
            yield f"{start} {_mend(name)}"


def _about(spec: Mapping[str, Any]) -> str:
    """The start of an option's description, in brackets and without Ansible's markup."""
    description = spec.get("description") or ""
    text = description if isinstance(description, str) else description[0]
    first = re.sub(r"\b[A-Z]\((.*?)\)", r"\1", text)
    first = re.split(r"[.;:] |\.$", first)[0]
    if not first[1:2].isupper():  # GPUs, SFT
        first = f"{first[:1].lower()}{first[1:]}"
    return f" ({first})" if first else ""


def _why(problem: str) -> str:
    """Why a value cannot be worked out, from what ansible-core reports."""
    unset = re.fullmatch(r"'(\w+)' is undefined", problem)
    return (
        f"depends on {unset[1]}, which is not set" if unset else f"cannot be evaluated, {problem}"
    )


def _mend(name: str) -> str:
    return f"Set it in your inventory's group_vars, or with -e {name}=VALUE."
