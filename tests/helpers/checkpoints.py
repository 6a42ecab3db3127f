"""Checkpoints as verl writes them, a few bytes each."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path

from ansible_collections.mnrun.train.plugins.module_utils.model.weights import (
    INDEX,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    CheckpointRule,
)
from ansible_collections.mnrun.train.plugins.module_utils.trainer.words import TRACKER

KINDS = ("model", "optim", "extra_state")


def write_shards(folder: Path, world: int = 2) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        for rank in range(world):
            with zipfile.ZipFile(folder / f"{kind}_world_size_{world}_rank_{rank}.pt", "w") as file:
                file.writestr("archive/data.pkl", b"x" * 100)


def write_step(folder: Path, step: int, parts: tuple[str, ...] = (), world: int = 2) -> Path:
    path = folder / f"global_step_{step}"
    for place in [path / part for part in parts] or [path]:
        write_shards(place, world)
    (folder / TRACKER).write_text(str(step))
    return path


def safetensors(size: int = 16) -> bytes:
    tensor = {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}
    header = json.dumps({"__metadata__": {"format": "pt"}, "w": tensor}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(size)


def write_hf(folder: Path, shards: int = 1) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    if shards == 1:
        (folder / "model.safetensors").write_bytes(safetensors())
        return
    names = [f"model-{n}-of-{shards}.safetensors" for n in range(shards)]
    for name in names:
        (folder / name).write_bytes(safetensors())
    (folder / INDEX).write_text(json.dumps({"weight_map": {f"w{n}": n for n in names}}))


def rule(folder: Path, *parts: str, hf: bool = False) -> CheckpointRule:
    return CheckpointRule(folder, list(parts), hf)
