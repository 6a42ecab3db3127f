"""Turns a checkpoint into a checked model in Hugging Face format; runs in a Slurm job.

Reads convert.json beside itself. Everything is written to a folder beside the target, the manifest
comes last, and one rename makes it the result: whatever ends this program, no half result remains
under the target's name.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import convert_check
import convert_gpus
import convert_merge
import manifest
from convert_errors import ConversionError

PARTS = ("merge the shards", "compare with the base model", "load and generate", "write")
VERSIONS = ("verl", "torch", "transformers")


class Steps:
    """Prints the progress, in the form that mnrun reads from a job's log."""

    def __init__(self, parts: list[str]) -> None:
        self.parts = parts
        self.done = 0

    def next(self) -> None:
        """Print the part that comes next."""
        self.done += 1
        print(f"mnrun: [{self.done}/{len(self.parts)}] {self.parts[self.done - 1]}", flush=True)


def main() -> int:
    """Convert; the exit code is 0 only if the result is in its place."""
    convert_gpus.hide_those_of_others()
    record = Path(os.environ["MNRUN_RECORD"])
    settings = json.loads((record / "convert.json").read_text(encoding="utf-8"))
    spec = json.loads((record / "record.json").read_text(encoding="utf-8"))
    try:
        convert(settings, {"fingerprint": spec["fingerprint"], "spec": spec["spec"]})
    except ConversionError as error:
        print(f"ConversionError: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def convert(settings: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Create, check and describe the model, then rename its folder to the final name."""
    steps = Steps([*PARTS[:3], *(["score answers"] if settings["score"] else []), PARTS[3]])
    target = Path(settings["target"])
    convert_merge.require_room(target.parent, Path(settings["base_model"]["path"]))
    checkpoint = convert_merge.find_checkpoint(settings["source"])
    with _workshop(target) as folder:
        steps.next()
        convert_merge.merge(checkpoint, folder, settings)
        steps.next()
        base = Path(settings["base_model"]["path"])
        weights = convert_check.settle(folder, base, settings["lora_alpha"])
        steps.next()
        loaded = convert_check.load(folder, base)
        about = {**wanted, **_about(settings, checkpoint), **weights}
        about["sample"] = convert_check.sample(loaded, settings["prompt"])
        if settings["score"]:
            steps.next()
            import convert_score

            scores = convert_score.scores(loaded, settings)
            about["scores"] = scores
            about["metrics"] = {**about["metrics"], **convert_score.metrics(scores)}
        steps.next()
        manifest.write(folder, about)
        _give_name(folder, target, wanted["fingerprint"])
    print(f"mnrun: {target} contains the model of step {settings['source']['step']}", flush=True)


def _about(settings: dict[str, Any], checkpoint: Path) -> dict[str, Any]:
    return {
        "stage": settings["stage"],
        "step": settings["source"]["step"],
        "source": str(checkpoint),
        "training": settings["training"],
        "base_model": settings["base_model"],
        "metrics": dict(settings["training"]["metrics"]),
        "versions": {name: _version(name) for name in VERSIONS}
        | {"python": platform.python_version()},
        "job": os.environ.get("SLURM_JOB_ID", ""),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


@contextlib.contextmanager
def _workshop(target: Path) -> Iterator[Path]:
    """An empty folder beside the target, removed afterwards unless it was renamed. Those that
    killed jobs left are removed too: one job of a stage is alive at a time."""
    for left in target.parent.glob(f".{target.name}.part-*"):
        shutil.rmtree(left)
    folder = target.with_name(f".{target.name}.part-{os.environ.get('SLURM_JOB_ID', os.getpid())}")
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _give_name(folder: Path, target: Path, fingerprint: str) -> None:
    """Move a result of other options aside, under its own fingerprint; remove a damaged one of
    these."""
    if target.exists():
        found = manifest.read(target) or {}
        owner = str(found.get("fingerprint", ""))
        aside = target.with_name(f"{target.name}.{owner[:12] or 'unknown'}")
        if owner == fingerprint or aside.exists():
            aside = target.with_name(f"{aside.name}-{time.strftime('%Y%m%d-%H%M%S')}")
        target.rename(aside)
        folder.rename(target)
        if owner == fingerprint:
            shutil.rmtree(aside)
        else:
            print(f"mnrun: the earlier model was moved to {aside}", flush=True)
    else:
        folder.rename(target)


if __name__ == "__main__":
    sys.exit(main())
