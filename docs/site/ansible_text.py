"""Texts in Ansible's documentation as Markdown."""

from __future__ import annotations

import json
import re
from typing import Any

_CODE = re.compile(r"\b[CVOEP]\(((?:[^()]|\([^()]*\))*)\)")
_NAME = re.compile(r"\b[MI]\(([^)]*)\)")


def markdown(text: str | list[str]) -> str:
    """Return a description as one paragraph of Markdown, fit for a cell of a table."""
    whole = " ".join([text] if isinstance(text, str) else text)
    plain = _NAME.sub(_module, _CODE.sub(r"`\1`", " ".join(whole.split())))
    return plain.replace("|", "\\|").replace("<", "&lt;") if "`" not in plain else _cell(plain)


def _module(found: re.Match[str]) -> str:
    name = found[1].removeprefix("mnrun.train.")
    return f"[{name}](modules.md#{name})" if name != found[1] else f"`{name}`"


def _cell(text: str) -> str:
    """Escape what a table or HTML would take; code keeps its signs."""
    parts = text.split("`")
    parts[::2] = [part.replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts).replace("|", "\\|")


def kind(option: dict[str, Any]) -> str:
    """Return an option's type in words: `list of str`."""
    elements = f" of {option['elements']}" if option.get("elements") else ""
    return f"{option.get('type', 'str')}{elements}"


def default(option: dict[str, Any]) -> str:
    """Return an option's default, or that it must be set."""
    if option.get("required"):
        return "**required**"
    if option.get("default") is None:
        return ""
    return f"`{json.dumps(option['default'], ensure_ascii=False)}`".replace("|", "\\|")


def choices(option: dict[str, Any]) -> str:
    """Return the values that an option takes, if they are listed."""
    given = option.get("choices")
    values = ", ".join(f"`{json.dumps(value)}`" for value in given or [])
    return f" One of {values}." if values else ""
