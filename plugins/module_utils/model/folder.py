"""Is a folder a complete model in Hugging Face format? The weights are not loaded.

Standard library only: jobs carry a copy of this file and of those that it imports.
"""

from __future__ import annotations

from pathlib import Path
from typing import Callable

if __package__:
    from ..base.presence import is_dir, is_file, names, seen, steadily
    from .inside import name_fault
    from .weights import INDEX, read_json, safetensors_fault, torch_fault
else:  # in a job, which carries both files
    from inside import name_fault
    from presence import (  # type: ignore[import-not-found, no-redef]
        is_dir,
        is_file,
        names,
        seen,
        steadily,
    )
    from weights import (
        INDEX,
        read_json,
        safetensors_fault,
        torch_fault,
    )

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")
_POINTER = b"version https://git-lfs"


_AGAIN = "; copy or download it again"


def model_faults(folder: Path, advice: str = _AGAIN) -> list[str]:
    """The reasons why `folder` is not a model that can be loaded. `advice` follows each missing or
    damaged file; a model that a training wrote cannot be downloaded again. Raises OSError."""
    if not is_dir(folder):
        return [f"there is no model folder {folder}; {nearest(folder)}"]
    pointers = [name for name in names(folder) if is_pointer(folder / name)]
    if pointers:
        fix = f"get the files: cd {folder} && git lfs pull"
        return [f"{folder}: {', '.join(pointers)} only point to files in Git LFS; {fix}"]
    faults = []
    if not isinstance(read_json(folder / "config.json"), dict):
        faults.append(f"{folder / 'config.json'} is missing or damaged")
    if not any(is_file(folder / name) for name in _TOKENIZERS):
        faults.append(f"{folder} contains no tokenizer, none of {', '.join(_TOKENIZERS)}")
    return [f"{fault}{advice}" for fault in [*faults, *_weight_faults(folder)]]


def is_pointer(path: Path) -> bool:
    """True for the small text file that Git leaves if Git LFS did not fetch the real one."""
    if not is_file(path) or steadily(path.stat).st_size > 1024:
        return False
    return seen(lambda: _begins_with(path, _POINTER)) or False


def _begins_with(path: Path, text: bytes) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(text)) == text


def nearest(path: Path) -> str:
    """The last folder on the way to `path` that exists, and its contents."""
    folder = path.parent
    while not is_dir(folder):
        folder = folder.parent
    shown = [name for name in names(folder) if not name.startswith(".")]
    return f"{folder} contains: {', '.join(shown[:12]) or 'nothing'}"


def _weight_faults(folder: Path) -> list[str]:
    kinds: tuple[tuple[str, str, Callable[[Path], str]], ...] = (
        (INDEX, "model.safetensors", safetensors_fault),
        ("pytorch_model.bin.index.json", "pytorch_model.bin", _bin_fault),
    )
    for index, single, fault in kinds:
        if is_file(folder / index):
            return _shard_faults(folder, index, fault)
        if is_file(folder / single):
            return list(filter(None, [fault(folder / single)]))
    return [f"{folder} contains no weights, neither safetensors nor pytorch_model.bin"]


def _shard_faults(folder: Path, index: str, fault: Callable[[Path], str]) -> list[str]:
    read = read_json(folder / index)
    weights = read.get("weight_map") if isinstance(read, dict) else None
    if not isinstance(weights, dict) or not weights:
        return [f"{folder / index} names no weights"]
    strange = [fault for fault in map(name_fault, weights.values()) if fault]
    if strange:
        return [f"{folder / index} cannot be used: {strange[0]}"]
    files = sorted(set(weights.values()))
    return list(filter(None, (fault(folder / name) for name in files)))


def _bin_fault(path: Path) -> str:
    """Before 1.6 torch wrote a plain pickle, which cannot be checked for completeness."""
    if is_file(path) and seen(lambda: _begins_with(path, b"\x80")):
        return ""
    return torch_fault(path)
