"""How much a training will write: the size of a checkpoint, and how many are kept.

Estimated from the model's number of weights and the trainer's options. verl keeps weights and what
the Hugging Face format holds in float32, and two numbers of the optimizer for each trained weight.
"""

from __future__ import annotations

import json
import math
import re
import struct
from pathlib import Path
from typing import Any, Iterator, Mapping, NamedTuple

from ..model.inside import inside
from ..model.weights import INDEX, read_json

BYTES = {"model": 4, "optimizer": 8, "hf_model": 4}  # for each weight
NEWEST = 2  # checkpoints that stay, if a stage's variable for them does not say how many
_PARTS = ("actor", "critic")
_NO_LAYER = re.compile(r"embed|^(?:lm_head|wte|wpe)$")  # what an adapter for all layers leaves out
_LONGEST_HEADER = 100_000_000  # bytes


class Adapter(NamedTuple):
    """A LoRA adapter that is saved beside the weights."""

    rank: int
    bytes_per_weight: int  # of its own weights
    targets: Any = None  # names of layers; anything else: all linear ones


class Saves(NamedTuple):
    """What a trainer's options determine about its checkpoints."""

    bytes_per_weight: int  # of the model
    every: int  # steps; 0 or less: only the last one
    keep: int  # the newest N; 0: all
    epochs: int
    steps: int  # 0: as many as the data give
    validates: int = 0  # steps between two validations; 0 or less: none before the end
    each_epoch: bool = False  # saves at the end of each epoch, whatever `every` is
    deletes_first: bool = True  # the oldest checkpoint goes before the next one is written
    adapters: tuple[Adapter, ...] = ()
    tied_bytes: int = 0  # for each weight of a head that is the embeddings, beside those of these


def saves(config_name: str, config: Any, how: Mapping[str, Any] | None = None) -> Saves:
    """Read a trainer's whole configuration. `how`: what a profile says about its options
    (`validate`). Raises ValueError for a value that is not a number."""
    how = how or {}
    epoch = how.get("each_epoch") or None
    trainer = config.get("trainer") or {}
    ppo = "ppo" in config_name
    parts = list(_of_ppo(config)) if ppo else [(_of_sft(config), config.get("model"))]
    return Saves(
        bytes_per_weight=sum(_bytes(*part) for part in parts),
        every=_steps(trainer.get("save_freq"), epoch),
        keep=_keep(trainer, [f"max_{part}_ckpt_to_keep" for part in _PARTS])
        if ppo
        else _keep(trainer, ["max_ckpt_to_keep"]),
        epochs=int(trainer.get("total_epochs") or 1),
        steps=int(trainer.get("total_training_steps") or 0),
        validates=_steps(trainer.get("test_freq"), epoch),
        each_epoch=epoch is not None and trainer.get("save_freq") == epoch,
        deletes_first=how.get("deletes") != "after",
        adapters=tuple(_adapter(*part) for part in parts if _rank(part[1])),
        tied_bytes=_tied_bytes(parts[0][0], _strategy(config, ppo), how),
    )


def _steps(value: Any, epoch: str | None) -> int:
    """A number of steps; 1 for what means an epoch, whose length is not known here."""
    return 1 if epoch is not None and value == epoch else int(value or 0)


def _of_sft(config: Any) -> Any:
    """Where SFT's options of checkpoints are: in a group of their own from verl 0.7 on."""
    return config.get("checkpoint") or (config.get("trainer") or {}).get("checkpoint")


def _of_ppo(config: Any) -> Iterator[tuple[Any, Any]]:
    """What is saved of the actor and of the critic, if there is one, and the options of each."""
    actor = config.get("actor_rollout_ref") or {}
    yield (actor.get("actor") or {}).get("checkpoint"), actor.get("model")
    estimator = (config.get("algorithm") or {}).get("adv_estimator")
    critic = config.get("critic") or {}
    if estimator == "gae" and critic.get("checkpoint"):
        yield critic["checkpoint"], critic.get("model")


def _contents(checkpoint: Any) -> dict[str, int]:
    wanted = (checkpoint or {}).get("save_contents") or ["model", "optimizer", "extra"]
    return {str(name): BYTES[str(name)] for name in wanted if str(name) in BYTES}


def _rank(model: Any) -> int:
    return int((model or {}).get("lora_rank") or 0)


def _bytes(checkpoint: Any, model: Any) -> int:
    """What is saved for each weight of the model: beside an adapter, it has no optimizer."""
    saved = _contents(checkpoint)
    if _rank(model):
        saved.pop("optimizer", None)
    return sum(saved.values())


def _adapter(checkpoint: Any, model: Any) -> Adapter:
    return Adapter(_rank(model), sum(_contents(checkpoint).values()), model.get("target_modules"))


def _strategy(config: Any, ppo: bool) -> Any:
    if ppo:
        return ((config.get("actor_rollout_ref") or {}).get("actor") or {}).get("strategy")
    return (config.get("engine") or config.get("model") or {}).get("strategy")


def _tied_bytes(checkpoint: Any, strategy: Any, how: Mapping[str, Any]) -> int:
    """What is written of a head that the model shares with its embeddings: in Hugging Face format
    both, up to verl 0.8, and both as shards of FSDP 1. A critic has another head."""
    saved = _contents(checkpoint)
    found = saved.get("hf_model", 0) if how.get("tied") != "once" else 0
    return found + (saved.get("model", 0) if strategy == "fsdp" else 0)


def _keep(trainer: Any, names: list[str]) -> int:
    """0 if one of the parts keeps all."""
    numbers = [int(trainer.get(name) or 0) for name in names]
    return 0 if 0 in numbers else max(numbers)


def too_few_kept(stage: str, found: Saves, rows: int, batch: int) -> list[str]:
    """Most trainers delete the oldest checkpoint before they write the next one."""
    written = kept(found._replace(keep=0), rows, batch)
    if found.keep != 1 or written == 1 or not found.deletes_first:
        return []
    why = "the trainer deletes it before it writes the next, and an end in between loses all"
    return [f"{stage}: with one checkpoint to keep, {why}; keep 2 or more (max_…ckpt_to_keep)"]


def keep_faults(stage: str, keep: dict[str, Any], found: Saves) -> list[str]:
    """What of `<stage>_keep` cannot be done."""
    if not keep:
        return []
    name, faults = f"{stage}: {stage}_keep", []
    if int(keep.get("newest", NEWEST)) < 1:
        faults.append(f"{name}: newest must be 1 or more; a training resumes from the newest one")
    if int(keep.get("every") or 0) < 0:
        faults.append(f"{name}: every must be 0 or more")
    if keep.get("best") and found.validates <= 0:
        faults.append(
            f"{name}: nothing is validated while it trains, so there is no best checkpoint; set "
            "trainer.test_freq, best to trainer.save_freq"
        )
    return faults


def kept_by(keep: dict[str, Any], found: Saves, rows: int, batch: int) -> int:
    """The same as `kept`, with the stage's variable for what to keep. There is one more for a
    while: nothing is deleted before a newer one is complete. Two complete ones always stay."""
    every = int(keep.get("every") or 0)
    wanted = max(2, int(keep.get("newest", NEWEST))) + bool(keep.get("best")) + 1
    interval = _interval(found, rows, batch)
    if every and interval > 0:
        both = every * interval // math.gcd(every, interval)
        wanted += steps(found, rows, batch) // both
    return min(kept(found._replace(keep=0), rows, batch), wanted)


def steps(found: Saves, rows: int, batch: int) -> int:
    """How many steps the trainer will make in all."""
    return found.steps or (rows // max(1, batch)) * found.epochs


def _interval(found: Saves, rows: int, batch: int) -> int:
    """Steps between two checkpoints; 0 or less: only the last one."""
    return rows // max(1, batch) if found.each_epoch else found.every


def kept(found: Saves, rows: int, batch: int) -> int:
    """How many checkpoints there will be at most."""
    interval = _interval(found, rows, batch)
    written = math.ceil(steps(found, rows, batch) / interval) if interval > 0 else 1
    return max(1, min(written, found.keep) if found.keep else written)


def weights(folder: Path) -> int:
    """The number of weights of a model in safetensors; 0 if it is not known."""
    return sum(map(_product, shapes(folder).values()))


def checkpoint_bytes(found: Saves, folder: Path) -> int:
    """The bytes of one checkpoint of a model in safetensors; 0 if that is not known."""
    tensors = shapes(folder)
    if not tensors:
        return 0
    known = sum(map(_product, tensors.values()))
    tied = found.tied_bytes * tied_head(folder)
    adapters = (
        one.rank * one.bytes_per_weight * _sides(tensors, one.targets) for one in found.adapters
    )
    return known * found.bytes_per_weight + tied + sum(adapters)


def _sides(tensors: Mapping[str, list[int]], targets: Any) -> int:
    """The sum of both sides of each linear layer that an adapter is for."""
    chosen = None if targets is None or isinstance(targets, str) else {*map(str, targets)}
    return sum(
        sum(shape)
        for name, shape in tensors.items()
        for layer in [name.rsplit(".", 2)[-2:][0]]
        if name.endswith(".weight") and len(shape) == 2
        and (layer in chosen if chosen else not _NO_LAYER.search(layer))
    )  # fmt: skip


def shapes(folder: Path) -> dict[str, list[int]]:
    """The shape of each tensor of a model in safetensors; none if they are not known."""
    index = read_json(folder / INDEX)
    names = index.get("weight_map") if isinstance(index, dict) else None
    files = sorted(set(names.values())) if isinstance(names, dict) else ["model.safetensors"]
    found: dict[str, list[int]] = {}
    try:
        for name in files:
            found.update(_in_file(inside(folder, name)))
        sum(map(_product, found.values()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, struct.error):
        return {}
    return found


def tied_head(folder: Path) -> int:
    """The number of weights of a head that the model shares with its embeddings; 0 if it has one of
    its own."""
    config = read_json(folder / "config.json")
    if not isinstance(config, dict):
        return 0
    text = config.get("text_config")
    config = {**(text if isinstance(text, dict) else {}), **config}
    rows, width = config.get("vocab_size"), config.get("hidden_size")
    if config.get("tie_word_embeddings") is not True:
        return 0
    return rows * width if isinstance(rows, int) and isinstance(width, int) else 0


def _in_file(path: Path) -> dict[str, list[int]]:
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header = json.loads(stream.read(min(length, _LONGEST_HEADER)))
    return {name: tensor["shape"] for name, tensor in header.items() if name != "__metadata__"}


def _product(shape: list[int]) -> int:
    product = 1
    for size in shape:
        if type(size) is not int:
            raise ValueError("the size of a tensor is not a number")
        product *= size
    return product
