"""Is the checkpoint of a step complete? Answered from its files alone, whatever the tracker says.

Standard library only: jobs carry a copy of this file and of those that it imports.
"""

from __future__ import annotations

import fnmatch
import re
from itertools import islice
from pathlib import Path
from typing import Callable, Container, Iterator, Sequence

if __package__:
    from ..base.presence import names
    from ..model.folder import model_faults
    from ..model.weights import file_fault, torch_fault
    from .words import Words, words
else:  # in a job, which carries these files
    from folder import model_faults
    from presence import names  # type: ignore[import-not-found, no-redef]
    from weights import file_fault, torch_fault
    from words import Words, words  # type: ignore[import-not-found, no-redef]

_MOST_FAULTS = 20  # of one folder
_SHOWS_DAMAGE = (".safetensors", ".pt", ".pth", ".json")
# verl's files of a rank.
_SHARD_KINDS = ("model", "optim", "extra_state")
_SHARD = re.compile(
    r"(model|optim|extra_state)_world_size_([1-9][0-9]{0,6})_rank_(0|[1-9][0-9]{0,6})\.pt"
)


def step_faults(step: Path, parts: Sequence[str], hf: bool, form: Words | None = None) -> list[str]:
    """What is wrong with a step's folder, by the rule of its trainer's `form`. `parts`: those of
    it that hold what is resumed from; without any, it does so itself. `hf`: its Hugging
    Face format counts too. Raises OSError if that is unknown.

    Damage is looked at twice: a file system that just recovered shows damage that is not there.
    """
    form = form or words({})
    return _faults(step, parts, hf, form) and _faults(step, parts, hf, form)


def _faults(step: Path, parts: Sequence[str], hf: bool, form: Words) -> list[str]:
    places = form.places(step, parts)
    judge = _RULES[form.whole]
    wrong = [fault for place in places for fault in islice(judge(place, form), _MOST_FAULTS)]
    wrong = wrong or list(islice(_loader_faults(step, places[0], form), _MOST_FAULTS))
    hf = hf and bool(form.huggingface)
    return wrong or (model_faults(places[0] / form.huggingface, advice="") if hf else [])


def _loader_faults(step: Path, shards: Path, form: Words) -> Iterator[str]:
    """What a trainer silently does without: it begins with the first rows of the data again."""
    if not form.loader:
        return
    pattern = re.escape(form.loader).replace(r"\{rank\}", "(0|[1-9][0-9]{0,6})")
    found = [match for match in map(re.compile(pattern).fullmatch, names(step)) if match]
    if "{rank}" in form.loader:
        ranks = {int(match.group(1)) for match in found}
        wanted = _loaders(ranks, shards, form.loader_share)
        expected = [form.loader.replace("{rank}", str(rank)) for rank in wanted]
    else:
        expected = [form.loader]
    there = {match.group() for match in found}
    for name in expected:
        wrong = torch_fault(step / name) if name in there else f"{step / name} is missing"
        if wrong:
            yield wrong


def _loaders(there: set[int], shards: Path, share: int) -> range:
    """The ranks that have a file of their own, in the world of which all have one; of several
    worlds that wrote there and have none, the largest."""
    worlds = {int(match.group(2)) for match in map(_SHARD.fullmatch, names(shards)) if match}
    sizes = sorted(max(1, size // share) for size in worlds)
    whole = [size for size in sizes if there.issuperset(range(size))]
    return range((whole or sizes or [1])[-1])


def _missing_files(folder: Path, form: Words) -> Iterator[str]:
    """Each of the profile's files is there, and all that is there is intact, by its form."""
    there = sorted(names(folder))
    asked = {pattern: fnmatch.filter(there, pattern) for pattern in form.files or ("*",)}
    yield from (f"{folder} contains no {pattern}" for pattern, found in asked.items() if not found)
    named = {name for found in asked.values() for name in found}
    for name in there:
        wrong = file_fault(folder / name) if name in named or name.endswith(_SHOWS_DAMAGE) else ""
        if wrong:
            yield wrong


def _not_a_model(folder: Path, form: Words) -> Iterator[str]:
    yield from model_faults(folder / form.huggingface, advice="")
    yield from _missing_files(folder, form) if form.files else ()


def _no_whole_world(folder: Path, _form: Words) -> Iterator[str]:
    yield from _shard_faults(folder)


def _shard_faults(folder: Path) -> list[str]:
    """Each rank of a world that wrote there has an intact file of each kind. Of several worlds,
    one is enough: a trainer reads the files of its own."""
    found = {match.group(): match for match in map(_SHARD.fullmatch, names(folder)) if match}
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
    for kind in _SHARD_KINDS:
        for rank in range(size):
            name = f"{kind}_world_size_{size}_rank_{rank}.pt"
            wrong = torch_fault(folder / name) if name in there else f"{folder / name} is missing"
            if wrong:
                yield wrong


# What a profile names by `whole`.
_RULES: dict[str, Callable[[Path, Words], Iterator[str]]] = {
    "files": _missing_files,
    "huggingface": _not_a_model,
    "verl-shards": _no_whole_world,
}
