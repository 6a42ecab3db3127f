"""Weights of a few bytes."""

from __future__ import annotations

import json
import struct
from pathlib import Path


def safetensors(path: Path, fill: bytes = b"\0") -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + fill * 16)
