"""Variables whose names look like options of a role, but are not used."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .origin import at

# Options that every role shares.
_SITE = "mnrun"
# Roles that have another name now; the options kept theirs behind the role's.
_RENAMED_ROLES = {"data_check": "preflight"}


def unknown_names(
    given: Mapping[str, Any], specs: Mapping[str, Mapping[str, Any]], internal: set[str]
) -> Iterator[str]:
    """Faults of variables that look like options of `specs`, by role, and are not in it.

    `internal` are those that roles set for themselves.
    """
    known = {name for options in specs.values() for name in options}
    for name in sorted(set(given) - known - internal):
        renamed = _renamed(name)
        if renamed:
            yield f"{name}{at(given[name])}: is now called {renamed}; rename it"
        role = _owner(name, specs)
        if not role and not name.startswith("ansible_"):
            meant = _mistyped(name, known)
            if meant:
                yield f"{name}{at(given[name])}: not an option; did you mean {meant}?"
        if role and not name.endswith("_result"):
            likely = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
            hint = f"did you mean {likely[0]}?" if likely else f"remove it. {_help(role)}"
            of = "any role" if role == _SITE else f"the role {role}"
            yield f"{name}{at(given[name])}: not an option of {of}; {hint}"


def _mistyped(name: str, known: set[str]) -> str:
    """The option that a variable of nearly the same name was meant to be, even its prefix; empty
    for a variable of the user's own."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower())
    return next(iter(difflib.get_close_matches(plain, sorted(known), n=1, cutoff=0.9)), "")


def _owner(name: str, roles: Mapping[str, Any]) -> str:
    owners = [role for role in [*roles, _SITE] if name.startswith(f"{role}_")]
    return max(owners, key=len, default="")


def _renamed(name: str) -> str:
    """The current name of an option of a renamed role; empty for any other name."""
    news = (
        f"{new}{name[len(old) :]}"
        for old, new in _RENAMED_ROLES.items()
        if name.startswith(f"{old}_")
    )
    return next(news, "")


def _help(role: str) -> str:
    return "" if role == _SITE else f"`ansible-doc -t role mnrun.train.{role}` lists them"


def subject(fault: str) -> str:
    """The variable that a fault is about."""
    found = re.match(r"\w+", fault)
    return found[0] if found else fault
