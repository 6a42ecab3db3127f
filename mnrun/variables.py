"""Values of -e, as typed: key=value pairs, JSON or YAML, or @FILE."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnrun.errors import UsageError

# More than is one: a hint may lack a value, but not show a secret.
_SECRET = re.compile(r"key|token|pass|pwd|secret|credential|auth|cookie|_pat\b", re.IGNORECASE)
_FORM = re.compile(
    r"://[^/@\s]*@|:[^/@\s:]+@|\b(?:hf|gh[pousr]|github_pat)_\w{9}|\b(?:sk|glpat|nvapi|xox.)-\w{9}"
)
_HIDDEN = "…"


def refuse_unreadable(values: Sequence[str]) -> None:
    """Raise UsageError for values of -e to which Ansible would respond with twenty lines about
    inventories, or which it would ignore."""
    for value in values:
        if value.startswith("@"):
            if not Path(value[1:]).expanduser().is_file():
                raise UsageError(f"-e {value}: there is no such file.")
        elif value.startswith(("{", "[")):
            _refuse_unless_mapping(value)
        elif "=" not in value:
            raise UsageError(f"-e {value}: write NAME=VALUE, JSON or YAML in {{ }}, or @FILE.")
        else:
            _refuse_open_quote(value)


def _refuse_open_quote(value: str) -> None:
    try:
        shlex.split(value)
    except ValueError as error:
        why = str(error).lower()
        as_json = '-e \'{"NAME": "VALUE"}\''
        raise UsageError(
            f"-e {without_secrets(value)}: {why}. For a value with a quote in it:  {as_json}"
        ) from error


def _refuse_unless_mapping(value: str) -> None:
    import yaml  # noqa: PLC0415 - slow to import, and rarely needed

    try:
        read = yaml.safe_load(value)
    except yaml.YAMLError as error:
        why = " ".join(str(error).replace('in "<unicode string>", ', "at ").split())
        raise UsageError(f"-e {value}: it is neither JSON nor YAML, {why}") from error
    if not isinstance(read, dict):
        raise UsageError(f"-e {value}: variables are a mapping, {{NAME: VALUE}}.")


def read(text: str) -> dict[str, Any]:
    """Return the variables that a value sets; none for a file, which is not read.

    Raises:
        UsageError: it cannot be parsed.
    """
    import yaml  # noqa: PLC0415 - slow to import, and rarely needed

    try:
        if text.startswith("{"):
            return dict(yaml.safe_load(text))
        return dict(word.split("=", 1) for word in shlex.split(text) if "=" in word)
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise UsageError(f"The value of -e cannot be parsed: {error}") from error


def absolute(value: str) -> str:
    """Return @file with the file's whole path: ansible-playbook does not expand ~ there."""
    if not value.startswith("@"):
        return value
    return f"@{Path(value[1:]).expanduser().absolute()}"


def without_secrets(value: str) -> str:
    """Return a value of -e without anything secret: hints end up in logs and screenshots."""
    if value.startswith("@") or not (_SECRET.search(value) or _FORM.search(value)):
        return value
    try:
        words = [] if value.startswith(("{", "[")) else shlex.split(value)
    except ValueError:  # an unclosed quote: the end of the secret is unknown
        words = []
    return " ".join(_without_secret(word) for word in words) or _HIDDEN


def _without_secret(word: str) -> str:
    name, equals, value = word.partition("=")
    # Only the value is quoted, as ansible requires.
    secret = _SECRET.search(name) or _FORM.search(value)
    return f"{name}{equals}{_HIDDEN if secret else shlex.quote(value)}"
