"""Is a file of weights complete? Answered from its structure, without reading the weights.

Each function returns what is wrong, naming the file, or an empty text.
"""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

INDEX = "model.safetensors.index.json"
_LONGEST_HEADER = 100_000_000  # bytes; the format's own limit


def torch_fault(path: Path) -> str:
    """A file of torch.save is a zip archive, whose directory is at the end: a truncated file has
    none."""
    if not path.is_file():
        return f"{path} is missing"
    return "" if zipfile.is_zipfile(path) else f"{path} is truncated or damaged"


def safetensors_fault(path: Path) -> str:
    """The header contains the offset of each tensor, and thus the size of the file."""
    if not path.is_file():
        return f"{path} is missing"
    size = path.stat().st_size
    try:
        expected = _expected_size(path, size)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, struct.error):
        return f"{path} is damaged: it does not start with a safetensors header"
    if expected != size:
        return f"{path} is damaged: it has {size} bytes; according to its header, {expected}"
    return ""


def _expected_size(path: Path, size: int) -> int:
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        if length > min(size, _LONGEST_HEADER):
            raise ValueError("the header is longer than the file")
        header = json.loads(stream.read(length))
    ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    return 8 + int(length) + int(max(ends, default=0))


def read_json(path: Path) -> Any:
    """The content of a JSON file; None if it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
