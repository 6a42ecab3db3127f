"""Is the checkpoint of a step complete? Answered from its files alone, whatever the tracker says.

Standard library only: jobs carry a copy of this file and of those that it imports.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Container, Iterator, Sequence

if __package__:
    from ..base.presence import names
    from ..model.folder import model_faults
    from ..model.weights import torch_fault
    from .words import HF_FOLDER, SHARD, SHARD_KINDS
else:  # in a job, which carries these files
    from folder import model_faults
    from presence import names  # type: ignore[import-not-found, no-redef]
    from weights import torch_fault
    from words import (  # type: ignore[import-not-found, no-redef]
        HF_FOLDER,
        SHARD,
        SHARD_KINDS,
    )

_MOST_FAULTS = 20  # of one folder


def step_faults(step: Path, parts: Sequence[str], hf: bool) -> list[str]:
    """What is wrong with a step's folder. `parts`: its sub-folders that hold shards; without any,
    it does so itself. `hf`: its Hugging Face format counts too. Raises OSError if that is
    unknown.

    Damage is looked at twice: a file system that just recovered shows damage that is not there.
    """
    return _faults(step, parts, hf) and _faults(step, parts, hf)


def _faults(step: Path, parts: Sequence[str], hf: bool) -> list[str]:
    places = [step / part for part in parts] or [step]
    shards = [fault for place in places for fault in _shard_faults(place)]
    return shards or (model_faults(places[0] / HF_FOLDER, advice="") if hf else [])


def _shard_faults(folder: Path) -> list[str]:
    """Each rank of a world that wrote there has an intact file of each kind. Of several worlds,
    one is enough: a trainer reads the files of its own."""
    found = {match.group(): match for match in map(SHARD.fullmatch, names(folder)) if match}
    if not found:
        return [f"{folder} contains no shards"]
    faults: list[str] = []
    for size in sorted({int(match.group(2)) for match in found.values()}):
        wrong = list(islice(_world_faults(folder, size, found), _MOST_FAULTS))
        if not wrong:
            return []
        faults += wrong
    return faults


def _world_faults(folder: Path, size: int, there: Container[str]) -> Iterator[str]:
    for kind in SHARD_KINDS:
        for rank in range(size):
            name = f"{kind}_world_size_{size}_rank_{rank}.pt"
            wrong = torch_fault(folder / name) if name in there else f"{folder / name} is missing"
            if wrong:
                yield wrong
