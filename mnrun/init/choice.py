"""One value of a new inventory, with where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Facts = Mapping[str, Any]
"""What the modules site_info and site_node_info return; their documentation describes it."""

Answers = Mapping[str, str]
"""What a user answered, by the names of choices."""


@dataclass(frozen=True)
class Choice:
    """A value, and the comment above it."""

    name: str
    value: Any
    why: str
    """A whole sentence's worth, without a full stop: "found: sinfo shows …"."""
    question: str = ""
    """Asked of a user, as the facts do not settle it; empty if they do."""
    options: Sequence[str] = field(default=())
    """The answers that are possible; empty for any."""


def found(name: str, value: Any, how: str) -> Choice:
    """Return a choice that the facts settle."""
    return Choice(name, value, f"found: {how}")


def guess(
    name: str, value: Any, how: str, question: str = "", options: Sequence[str] = ()
) -> Choice:
    """Return a choice that a user may have to correct."""
    return Choice(name, value, f"GUESS: {how}", question, options)


def answered(name: str, value: Any) -> Choice:
    """Return a choice that a user made."""
    return Choice(name, value, "your answer")
