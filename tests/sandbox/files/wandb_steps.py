"""Prints what an offline run file of W&B holds, as JSON: the steps, and whether the run was ended.

Run with the training environment's Python. The file is a log of LevelDB's form: blocks of 32 KiB,
records with a header of 7 bytes (checksum, length, type), long ones in several pieces.
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path

from wandb.proto.wandb_internal_pb2 import Record

BLOCK, HEADER = 32768, 7
WHOLE, LAST = 1, 4  # types of a record's only and of its last piece


def records(data):
    at, text = HEADER, b""  # the file has a header of its own
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        text += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (WHOLE, LAST):
            yield Record.FromString(text)
            text = b""


def main():
    found = list(records(Path(sys.argv[1]).read_bytes()))
    steps = [r.history.step.num for r in found if r.WhichOneof("record_type") == "history"]
    ended = any(r.WhichOneof("record_type") == "exit" for r in found)
    print(json.dumps({"last_step": max(steps, default=None), "ended": ended}))


main()
