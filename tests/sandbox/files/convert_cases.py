"""Feed roles/convert/files/convert_check.py what a merger could write; print what it says."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parents[3] / "roles/convert/files"))
import convert_check
from convert_errors import ConversionError

NAN, INFINITY = float("nan"), float("inf")


def base() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {"a.weight": torch.randn(4, 6), "b.weight": torch.randn(3)}


def rounded(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As verl's merger writes them."""
    return {name: tensor.bfloat16() for name, tensor in tensors.items()}


def trained(**changes: Any) -> dict[str, torch.Tensor]:
    tensors = rounded({name: tensor + 1 for name, tensor in base().items()})
    tensors.update({name.replace("_", "."): value for name, value in changes.items()})
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def settle(written: dict[str, torch.Tensor], tied: bool = False, lora: Any = None) -> Any:
    """What `settle` says of a folder with these tensors, and what the folder holds then."""
    with tempfile.TemporaryDirectory() as top:
        model, folder = Path(top, "base"), Path(top, "merged")
        for path, tensors in ((model, base()), (folder, written)):
            path.mkdir()
            save_file(tensors, path / "model.safetensors")
            (path / "config.json").write_text(json.dumps({"tie_word_embeddings": tied}))
        if lora:
            (folder / "lora_adapter").mkdir()
            save_file(lora, folder / "lora_adapter" / "adapter_model.safetensors")
        try:
            with contextlib.redirect_stdout(sys.stderr):
                about = convert_check.settle(folder, model, lora_alpha=8)
        except ConversionError as error:
            return str(error)
        found = load_file(folder / "model.safetensors")
        about["types"] = sorted({str(tensor.dtype) for tensor in found.values()})
        about["names"] = sorted(found)
        if lora:
            down, up = lora.values()
            expected = written["a.weight"].float() + up @ down * (8 / 2)
            about["merged"] = torch.allclose(found["a.weight"], expected)
            about["left"] = (folder / "lora_adapter").exists()
        return about


def main() -> None:
    stem = "base_model.model.a.lora_"
    adapter = {f"{stem}A.weight": torch.randn(2, 6), f"{stem}B.weight": torch.randn(4, 2)}
    stray = {name.replace(".a.", ".z."): tensor for name, tensor in adapter.items()}
    cases = {
        "whole": settle(trained()),
        "lost": settle(trained(b_weight=None)),
        "shape": settle(trained(b_weight=torch.ones(4))),
        "extra": settle(trained(c_weight=torch.ones(4))),
        "nan": settle(trained(b_weight=torch.tensor([1.0, NAN, 1.0]))),
        "infinity": settle(trained(b_weight=torch.tensor([1.0, INFINITY, 1.0]))),
        "unchanged": settle(rounded(base())),
        "head": settle(trained() | {"lm_head.weight": torch.ones(4, 6)}, tied=True),
        "lora": settle(rounded(base()), lora=adapter),
        "stray": settle(rounded(base()), lora=stray),
    }
    print(json.dumps(cases))


if __name__ == "__main__":
    main()
