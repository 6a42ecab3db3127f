"""Fingerprints of specs, and the differences between two of them."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Iterator

MISSING = "(not set)"


def canonical(value: Any) -> Any:
    """`value` with every scalar as the text that a command line would show.

    The same option may arrive as the number 2 from an inventory or as the text "2" from `-e`; both
    lead to the same training, so both must have the same fingerprint.
    """
    if isinstance(value, dict):
        return {str(key): canonical(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


def fingerprint(spec: dict[str, Any]) -> str:
    """SHA-256 (hexadecimal) of the canonical form of `spec`; the order of keys does not matter."""
    text = json.dumps(canonical(spec), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """One line for each value that differs: `options.lr: 0.001 -> 0.002`."""
    before, after = dict(_flat(canonical(old))), dict(_flat(canonical(new)))
    lines = [
        f"{key}: {before.get(key, MISSING)} -> {after.get(key, MISSING)}"
        for key in sorted(set(before) | set(after))
        if before.get(key, MISSING) != after.get(key, MISSING)
    ]
    if not lines and canonical(old) != canonical(new):
        return ["the same values, but nested or written differently"]
    return lines


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else key)
    else:
        yield path, value if isinstance(value, str) else json.dumps(value)
