"""Is a folder a complete model in Hugging Face format? The weights are not loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

from .inside import name_fault
from .weights import INDEX, read_json, safetensors_fault, torch_fault

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")
_POINTER = b"version https://git-lfs"


_AGAIN = "; copy or download it again"


def model_faults(folder: Path, advice: str = _AGAIN) -> list[str]:
    """The reasons why `folder` is not a model that can be loaded. `advice` follows each missing or
    damaged file; a model that a training wrote cannot be downloaded again."""
    if not folder.is_dir():
        return [f"there is no model folder {folder}; {nearest(folder)}"]
    pointers = sorted(path.name for path in folder.iterdir() if is_pointer(path))
    if pointers:
        fix = f"get the files: cd {folder} && git lfs pull"
        return [f"{folder}: {', '.join(pointers)} only point to files in Git LFS; {fix}"]
    faults = []
    if not isinstance(read_json(folder / "config.json"), dict):
        faults.append(f"{folder / 'config.json'} is missing or damaged")
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        faults.append(f"{folder} contains no tokenizer, none of {', '.join(_TOKENIZERS)}")
    return [f"{fault}{advice}" for fault in [*faults, *_weight_faults(folder)]]


def is_pointer(path: Path) -> bool:
    """True for the small text file that Git leaves if Git LFS did not fetch the real one."""
    if not path.is_file() or path.stat().st_size > 1024:
        return False
    with path.open("rb") as stream:
        return stream.read(len(_POINTER)) == _POINTER


def nearest(path: Path) -> str:
    """The last folder on the way to `path` that exists, and its contents."""
    folder = path.parent
    while not folder.is_dir():
        folder = folder.parent
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    return f"{folder} contains: {', '.join(names[:12]) or 'nothing'}"


def _weight_faults(folder: Path) -> list[str]:
    kinds: tuple[tuple[str, str, Callable[[Path], str]], ...] = (
        (INDEX, "model.safetensors", safetensors_fault),
        ("pytorch_model.bin.index.json", "pytorch_model.bin", _bin_fault),
    )
    for index, single, fault in kinds:
        if (folder / index).is_file():
            return _shard_faults(folder, index, fault)
        if (folder / single).is_file():
            return list(filter(None, [fault(folder / single)]))
    return [f"{folder} contains no weights, neither safetensors nor pytorch_model.bin"]


def _shard_faults(folder: Path, index: str, fault: Callable[[Path], str]) -> list[str]:
    read = read_json(folder / index)
    names = read.get("weight_map") if isinstance(read, dict) else None
    if not isinstance(names, dict) or not names:
        return [f"{folder / index} names no weights"]
    strange = [fault for fault in map(name_fault, names.values()) if fault]
    if strange:
        return [f"{folder / index} cannot be used: {strange[0]}"]
    files = sorted(set(names.values()))
    return list(filter(None, (fault(folder / name) for name in files)))


def _bin_fault(path: Path) -> str:
    """Before 1.6 torch wrote a plain pickle, which cannot be checked for completeness."""
    if path.is_file():
        with path.open("rb") as stream:
            if stream.read(1) == b"\x80":
                return ""
    return torch_fault(path)
