"""Versions of packages against bounds such as `>=0.5,<0.6`."""

from __future__ import annotations

import re
from itertools import zip_longest

_BOUND = re.compile(r"(>=|>|<=|<|==)([0-9.]+)")


def fits(version: str, bounds: str) -> bool:
    """Whether a version is within `bounds`; none fits any."""
    return all(_holds(version, *bound) for bound in _BOUND.findall(bounds))


def _holds(version: str, sign: str, bound: str) -> bool:
    pairs = zip_longest(_numbers(version), _numbers(bound), fillvalue=0)
    order = next(((a > b) - (a < b) for a, b in pairs if a != b), 0)
    return {">=": order >= 0, ">": order > 0, "<=": order <= 0, "<": order < 0, "==": order == 0}[
        sign
    ]


def _numbers(version: str) -> list[int]:
    match = re.match(r"[0-9]+(?:\.[0-9]+)*", version)
    return [int(part) for part in match.group().split(".")] if match else []
