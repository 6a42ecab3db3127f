"""Checks what the merger wrote: compares it with the base model tensor by tensor, then uses it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import convert_gpus
import torch
from convert_errors import ConversionError
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

_ADAPTER = "lora_adapter"
_MOST_NAMES = 3
_SAMPLE_TOKENS = 24


class Loaded(NamedTuple):
    """A model in use, on the device that it runs on."""

    model: Any
    tokenizer: Any
    device: str


def settle(folder: Path, base: Path, lora_alpha: float) -> dict[str, Any]:
    """Merge a LoRA adapter, give each tensor the base model's type, and check all of them.

    Returns:
        `tensors` and `lora`, for the manifest.

    Raises:
        ConversionError: the merger wrote too little, or something that is not the model.
    """
    files = _weight_files(folder)
    wanted = _shapes(base)
    adapter = _Adapter(folder / _ADAPTER, lora_alpha)
    tied = bool(_config(folder).get("tie_word_embeddings"))
    _require_all(folder, files, wanted, tied)
    before = _Tensors(base)
    settled = [_settle_file(path, wanted, adapter, before) for path in files]
    changed = sum(count for count, _ in settled)
    adapter.require_used()
    if not changed:
        raise ConversionError(
            f"every tensor equals the base model's ({base}): training has changed nothing, or the "
            "merger has read another model"
        )
    _rewrite_index(folder, files, wanted)
    _write_config(folder, wanted)
    print(f"mnrun: {len(wanted)} tensors, {changed} changed by training", flush=True)
    tensors = {
        "count": len(wanted),
        "changed": changed,
        "bytes": sum(shape.bytes for shape in wanted.values()),
        "merged_as": sorted(set[str]().union(*(types for _, types in settled))),
    }
    return {"lora": adapter.about(), "tensors": tensors}


def _settle_file(
    path: Path, wanted: dict[str, _Shape], adapter: _Adapter, before: _Tensors
) -> tuple[int, set[str]]:
    """Write a file of weights with the base model's types: how many tensors training has changed,
    and the types that the merger gave to all of them."""
    merged = load_file(path)
    # Left out: the head of a model whose embeddings serve as its head.
    tensors = {name: tensor for name, tensor in merged.items() if name in wanted}
    changed = 0
    for name, tensor in tensors.items():
        dtype = wanted[name].dtype
        tensors[name] = adapter.merged(name, tensor).to(dtype).contiguous()
        _require_finite(path, name, tensors[name])
        # The merger rounds; rounding alone is no change.
        was = before.read(name).to(tensor.dtype).to(dtype)
        changed += int(not torch.equal(was, tensors[name]))
    _save(tensors, path)
    return changed, {str(tensor.dtype).removeprefix("torch.") for tensor in merged.values()}


class _Shape(NamedTuple):
    shape: tuple[int, ...]
    dtype: torch.dtype
    bytes: int


def _weight_files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        there = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
        raise ConversionError(f"the merger wrote no weights; it wrote: {there}")
    return files


def _shapes(model: Path) -> dict[str, _Shape]:
    """Every tensor of a model's files, by name."""
    tensors = _Tensors(model)
    return {name: _shape(tensors.read(name)) for name in tensors.names()}


def _shape(tensor: torch.Tensor) -> _Shape:
    return _Shape(tuple(tensor.shape), tensor.dtype, tensor.numel() * tensor.element_size())


class _Tensors:
    """Tensors of a model's files by their names, one at a time; safetensors or torch's own."""

    def __init__(self, folder: Path) -> None:
        self._get: dict[str, Callable[[str], torch.Tensor]] = {}
        for path in sorted(folder.glob("*.safetensors")):
            file = safe_open(path, framework="pt")
            self._get.update(dict.fromkeys(file.keys(), file.get_tensor))
        for path in sorted(folder.glob("pytorch_model*.bin")) if not self._get else ():
            tensors = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
            self._get.update(dict.fromkeys(tensors, tensors.__getitem__))
        if not self._get:
            raise ConversionError(f"the base model {folder} holds no weights to compare with")

    def names(self) -> list[str]:
        """All of them, sorted."""
        return sorted(self._get)

    def read(self, name: str) -> torch.Tensor:
        """One of them, from its file."""
        return self._get[name](name)


def _require_all(folder: Path, files: list[Path], wanted: dict[str, _Shape], tied: bool) -> None:
    """Every tensor of the base model is there, in its shape, and nothing that it does not have."""
    found = _shapes(folder)
    missing = [name for name in wanted if name not in found]
    if missing:
        have = sum(path.stat().st_size for path in files)
        raise ConversionError(
            f"the merger wrote too little: {len(missing)} of {len(wanted)} tensors are missing "
            f"({_some(missing)}); what it wrote has {have} bytes"
        )
    other = [
        f"{name} is {list(found[name].shape)}, not {list(shape.shape)}"
        for name, shape in wanted.items()
        if found[name].shape != shape.shape
    ]
    if other:
        raise ConversionError(f"the merger wrote other shapes than the base model: {_some(other)}")
    known = {*wanted, "lm_head.weight"} if tied else wanted
    extra = [name for name in found if name not in known]
    if extra:
        raise ConversionError(
            f"the merger wrote tensors that the base model does not have: {_some(extra)}"
        )


def _save(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """In place of the file that the tensors are still mapped from, and readable like the others."""
    part = path.with_suffix(".part")
    save_file(tensors, part, metadata={"format": "pt"})
    part.chmod((path.parent / "config.json").stat().st_mode)
    part.replace(path)


def _some(names: list[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _require_finite(path: Path, name: str, tensor: torch.Tensor) -> None:
    if not bool(torch.isfinite(tensor).all()):
        raise ConversionError(
            f"{name} in {path.name} holds NaN or infinity: the training has diverged; lower its "
            "learning rate, or convert an earlier step: -e convert_step=N"
        )


class _Adapter:
    """verl's merger leaves a LoRA adapter beside the weights, and its scale out of it."""

    def __init__(self, folder: Path, alpha: float) -> None:
        file = folder / "adapter_model.safetensors"
        self._tensors = load_file(file) if file.is_file() else {}
        self._alpha = alpha
        self._unused = set(self._tensors)
        self._rank = 0
        self._folder = folder

    def merged(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """`tensor` with what the adapter adds to it."""
        stem = f"base_model.model.{name.removesuffix('.weight')}.lora_"
        down, up = self._tensors.get(f"{stem}A.weight"), self._tensors.get(f"{stem}B.weight")
        if down is None or up is None:
            return tensor
        self._unused -= {f"{stem}A.weight", f"{stem}B.weight"}
        self._rank = down.shape[0]
        added = (up.float() @ down.float()) * (self._alpha / self._rank)
        return tensor.float() + added

    def require_used(self) -> None:
        """Raise if part of the adapter was not merged; then remove it."""
        if self._unused:
            raise ConversionError(
                f"{len(self._unused)} tensors of the LoRA adapter belong to no weight of the base "
                f"model ({_some(sorted(self._unused))}); mnrun cannot merge such an adapter"
            )
        shutil.rmtree(self._folder, ignore_errors=True)

    def about(self) -> dict[str, Any] | None:
        """For the manifest; None if there was none."""
        if not self._tensors:
            return None
        print(f"mnrun: LoRA of rank {self._rank}, alpha {self._alpha:g}, was merged", flush=True)
        return {"rank": self._rank, "alpha": self._alpha, "tensors": len(self._tensors)}


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConversionError(f"the merger wrote no valid config.json: {error}") from error
    return dict(config)


def _rewrite_index(folder: Path, files: list[Path], wanted: dict[str, _Shape]) -> None:
    """Sizes and names as they are now; a model in one file has no index."""
    path = folder / "model.safetensors.index.json"
    if not path.exists():
        return
    where = dict(_places(files))
    total = sum(shape.bytes for shape in wanted.values())
    index = {"metadata": {"total_size": total}, "weight_map": where}
    path.write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _places(files: list[Path]) -> Iterator[tuple[str, str]]:
    for path in files:
        with safe_open(path, framework="pt") as file:
            yield from ((name, path.name) for name in file.keys())  # noqa: SIM118 - no mapping


def _write_config(folder: Path, wanted: dict[str, _Shape]) -> None:
    """The type of the weights, as far as there is one: from_pretrained goes by it."""
    config, kinds = _config(folder), {shape.dtype for shape in wanted.values()}
    key = "dtype" if "dtype" in config else "torch_dtype"
    if len(kinds) == 1:
        config[key] = str(kinds.pop()).removeprefix("torch.")
    text = json.dumps(config, indent=2) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")


def load(folder: Path, base: Path) -> Loaded:
    """Load a converted model as its users will. Raises ConversionError if anything is missing."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if not tokenizer.chat_template and AutoTokenizer.from_pretrained(base).chat_template:
        raise ConversionError("the merger wrote no chat template, and the base model has one")
    model, found = AutoModelForCausalLM.from_pretrained(
        folder, torch_dtype="auto", output_loading_info=True
    )
    wrong = [f"{kind} {_some(sorted(map(str, found[kind])))}" for kind in found if found[kind]]
    if wrong:
        raise ConversionError(f"transformers does not load all of the model: {'; '.join(wrong)}")
    return _ready(model, tokenizer)


def load_other(folder: Path) -> Loaded:
    """Load another model, to compare answers with."""
    model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype="auto")
    return _ready(model, AutoTokenizer.from_pretrained(folder))


def _ready(model: Any, tokenizer: Any) -> Loaded:
    device = "cuda" if convert_gpus.are_given() and torch.cuda.is_available() else "cpu"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token_id = tokenizer.eos_token_id
    return Loaded(model.to(device).eval(), tokenizer, device)


def sample(loaded: Loaded, prompt: str) -> dict[str, str]:
    """A short greedy answer, which shows that the model can be used."""
    tokenizer = loaded.tokenizer
    text = prompt
    if tokenizer.chat_template:
        message = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(message, add_generation_prompt=True, tokenize=False)
    given = tokenizer(text, return_tensors="pt", add_special_tokens=not tokenizer.chat_template)
    ids = given["input_ids"].to(loaded.device)
    with torch.inference_mode():
        logits = loaded.model(ids).logits
        made = loaded.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=_SAMPLE_TOKENS,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            pad_token_id=tokenizer.pad_token_id,
        )
    if not bool(torch.isfinite(logits).all()):
        raise ConversionError("the model's answer to a prompt is not finite (NaN or infinity)")
    answer = tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)
    print(f"mnrun: {prompt!r} -> {answer!r}", flush=True)
    return {"prompt": prompt, "answer": answer}
