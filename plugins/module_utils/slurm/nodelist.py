"""Node lists in Slurm's short form, like `rack[1-2]n[08-10],login`, written out.

Standard library only, and no other file of ours, so that jobs can carry this one.
"""

from __future__ import annotations

import math
import re
from itertools import product
from typing import List, Tuple, Union

MOST_NAMES = 100_000
"""No cluster has as many nodes; a list that comes to more is not understood."""

_BALANCED = re.compile(r"(?:[^\[\]]|\[[^\[\]]*\])*")
_PIECE = re.compile(r"(?:[^,\[\]]|\[[^\[\]]*\])+")
_PART = re.compile(r"\[([0-9,-]+)\]|([\w.-]+)", re.ASCII)
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")

# A text, or numbers each with the width that they are filled up to with zeros.
_Part = Union[str, List[Tuple[range, int]]]


def names_in(nodelist: str) -> list[str]:
    """The single names of a list, in its order. What is not understood is left out; nothing is
    left of a list of more than `MOST_NAMES`, or of one that was cut off within brackets."""
    if not _BALANCED.fullmatch(nodelist):
        return []
    pieces = [parts for parts in map(_parts, _PIECE.findall(nodelist)) if parts]
    if sum(math.prod(map(_size, parts)) for parts in pieces) > MOST_NAMES:
        return []
    return ["".join(name) for parts in pieces for name in product(*map(_texts, parts))]


def _parts(piece: str) -> list[_Part]:
    """The parts of one name or of several alike; none if they are not understood."""
    found = list(_PART.finditer(piece.strip()))
    whole = "".join(part.group() for part in found) == piece.strip()
    if not whole or not found or not re.match(r"\w", piece.strip(), re.ASCII):
        return []
    parts: list[_Part] = [part.group(2) or _ranges(part.group(1)) for part in found]
    return parts if all(parts) else []


def _ranges(text: str) -> list[tuple[range, int]]:
    found = [_RANGE.fullmatch(part) for part in text.split(",")]
    spans = [(one[1], one[2] or one[1]) for one in found if one]
    if len(spans) < len(found):
        return []
    return [(range(int(first), int(last) + 1), len(first)) for first, last in spans]


def _size(part: _Part) -> int:
    return 1 if isinstance(part, str) else sum(len(numbers) for numbers, _width in part)


def _texts(part: _Part) -> list[str]:
    if isinstance(part, str):
        return [part]
    return [str(number).zfill(width) for numbers, width in part for number in numbers]
