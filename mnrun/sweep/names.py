"""Names of a sweep's runs: they follow from a run's own options, and from nothing else.

So a run keeps its name, and with it its folder, when the file's order or its other runs change.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

_READABLE = 32  # characters; with 24 before and 7 behind them, a name has at most 64


def run_name(prefix: str, given: str, own: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a run's name.

    Args:
        prefix: the sweep's name.
        given: how the name is to end; empty: as the options say.
        own: the run's own options, by section.
    """
    if given:
        return f"{prefix}-{given}"
    same = {
        section: {name: _plain(value) for name, value in options.items()}
        for section, options in own.items()
    }
    text = json.dumps(same, sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()[:6]
    parts = [
        f"{name.rpartition('.')[2]}{short(value)}"
        for options in same.values()
        for name, value in options.items()
    ]
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(parts))[:_READABLE].strip("-_.")
    return "-".join(part for part in (prefix, readable, digest) if part)


def short(value: Any) -> str:
    """Return a value as the table and names show it."""
    return value if isinstance(value, str) else json.dumps(_plain(value), default=str)


def _plain(value: Any) -> Any:
    """Return equal values in one form: YAML reads 1e-5 as a text and 1.0e-5 as a number."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return _number(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _number(text: str) -> Any:
    if re.fullmatch(r"[-+]?[0-9]{1,15}", text):
        return int(text)
    if re.fullmatch(r"[-+]?[0-9]{0,15}\.?[0-9]{1,15}(?:[eE][-+]?[0-9]{1,2})?", text):
        return _plain(float(text))
    return text
