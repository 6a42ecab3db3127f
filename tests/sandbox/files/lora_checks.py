"""Compare a converted LoRA model with what peft itself makes of base model and adapter."""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM


def main() -> None:
    given: dict[str, Any] = json.load(sys.stdin)
    ids = torch.arange(40, 72).reshape(1, -1)
    base = AutoModelForCausalLM.from_pretrained(given["base"], dtype=torch.float32).eval()
    converted = AutoModelForCausalLM.from_pretrained(given["converted"], dtype=torch.float32).eval()
    with torch.inference_mode():
        untrained, merged = base(ids).logits, converted(ids).logits
    config = LoraConfig(r=given["rank"], lora_alpha=given["alpha"], target_modules="all-linear")
    adapted = get_peft_model(base, config).eval()
    # verl's own Hugging Face format of a LoRA training: the unmerged names of peft.
    adapted.load_state_dict(load_file(f"{given['trained']}/model.safetensors"))
    with torch.inference_mode():
        expected = adapted(ids).logits
    print(
        json.dumps(
            {
                "from_base": (merged - untrained).abs().mean().item(),
                "from_peft": (merged - expected).abs().mean().item(),
            }
        )
    )


if __name__ == "__main__":
    main()
