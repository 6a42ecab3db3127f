"""From a checkpoint to one model: finds it, checks that it is complete, runs its merger."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

from convert_errors import ConversionError
from words import Words, words  # type: ignore[import-not-found]  # the job carries it

_SHARD = re.compile(r"model_world_size_(\d+)_rank_\d+\.pt")


def find_checkpoint(source: dict[str, Any]) -> Path:
    """The step's folder: in the stage's checkpoints, or where they were set aside."""
    folder, key = Path(source["checkpoints"]), source["fingerprint"]
    form = words(source.get("trainer") or {})
    aside = folder.with_name(f"{folder.name}.{key[:12]}")
    place = folder if _owner(folder) == key else aside
    step: Path = place / form.step_folder(source["step"])
    found: Path = form.places(step, [source["part"]] if source["part"] else [])[0]
    if not found.is_dir():
        raise ConversionError(
            f"there is no checkpoint of step {source['step']} with these options in {folder}; "
            f"there are: {_steps(place, form)}. Train again, or name one of these: "
            "-e convert_step=N"
        )
    return found


def _owner(folder: Path) -> str:
    try:
        return str(json.loads((folder / ".mnrun.json").read_text(encoding="utf-8"))["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _steps(place: Path, form: Words) -> str:
    names = (path.name for path in place.iterdir()) if place.is_dir() else ()
    found = [step for step in map(form.step_of, names) if step is not None]
    return ", ".join(map(str, sorted(found))) or "none"


def _require_whole(checkpoint: Path) -> None:
    """Each rank's weights are there and whole. The merger would end in a traceback."""
    if not (checkpoint / "fsdp_config.json").is_file():
        raise ConversionError(f"{checkpoint / 'fsdp_config.json'} is missing; train again")
    sizes = {match.group(1) for path in checkpoint.iterdir() if (match := _SHARD.match(path.name))}
    if not sizes:
        raise ConversionError(
            f"{checkpoint} holds no weights (model_world_size_…): the trainer's option "
            "checkpoint.save_contents lacks `model`; train again with it"
        )
    if len(sizes) != 1:
        raise ConversionError(f"{checkpoint} holds weights of {len(sizes)} trainings, not of one")
    size = int(sizes.pop())
    shards = [checkpoint / f"model_world_size_{size}_rank_{rank}.pt" for rank in range(size)]
    missing = [path.name for path in shards if not path.is_file()]
    if missing:
        raise ConversionError(
            f"{checkpoint} lacks {', '.join(missing)}: a rank's weights are missing; train again"
        )
    for path in shards:
        if not zipfile.is_zipfile(path):
            raise ConversionError(f"{path} is truncated or damaged; train again")


def require_room(folder: Path, base: Path) -> None:
    """A converted model takes what the base model takes; a quota may leave less than is free."""
    files = [*base.glob("*.safetensors"), *base.glob("pytorch_model*.bin")]
    needed = sum(path.stat().st_size for path in files)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ConversionError(
            f"{folder} has {free / 1e9:.3g} GB left, and the model needs {needed / 1e9:.3g} GB"
        )


def merge(checkpoint: Path, folder: Path, settings: dict[str, Any]) -> None:
    """Put the model into `folder`: by verl's own merger, or as the trainer itself saved it."""
    if settings["merger"]:
        _require_whole(checkpoint)
        _merge(checkpoint, folder, settings["merger"])
        return
    form = words(settings["source"].get("trainer") or {})
    shutil.copytree(checkpoint / form.huggingface, folder, dirs_exist_ok=True)


def _merge(checkpoint: Path, folder: Path, merger: str) -> None:
    """In this process, which has the merger's imports already."""
    arguments = ["merge", "--backend", "fsdp", "--local_dir", str(checkpoint)]
    before = sys.argv
    sys.argv = [merger, *arguments, "--target_dir", str(folder)]
    try:
        runpy.run_module(merger, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            raise ConversionError(f"verl's merger ended with {end.code}; see above") from end
    finally:
        sys.argv = before
