"""Checks that run inside the training environment, started by test_trainer.py.

    <training environment>/bin/python trainer_checks.py rollout MODEL_FOLDER
    <...>/bin/python trainer_checks.py exported CHECKPOINT_FOLDER

Each prints one JSON line that the test judges.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch.distributed.tensor  # the shards are pickled DTensors
from omegaconf import OmegaConf
from safetensors.torch import load_file
from torch.distributed.fsdp import MixedPrecisionPolicy
from transformers import AutoModelForCausalLM, AutoTokenizer
from verl import DataProto
from verl.utils.model import compute_position_id_with_mask
from verl.workers.rollout.hf_rollout import HFRollout

RESPONSE_LENGTH = 16


def prompts(tokenizer, sentences):
    """Return the sentences as verl batches prompts: padded on the left, positions from the mask."""
    tokenizer.padding_side = "left"
    batch = tokenizer(sentences, return_tensors="pt", padding=True)
    mask = batch["attention_mask"]
    return DataProto.from_dict(
        tensors={
            "input_ids": batch["input_ids"],
            "attention_mask": mask,
            "position_ids": compute_position_id_with_mask(mask),
        },
        meta_info={
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "do_sample": False,
        },
    )


def verl_rollout(model, data):
    """Let verl's own rollout class answer; return the token ids of the answers."""
    config = OmegaConf.create(
        {"do_sample": False, "temperature": 1.0, "response_length": RESPONSE_LENGTH, "n": 1}
    )
    return HFRollout(model, config).generate_sequences(data).batch["responses"].tolist()


def plain_generation(model, data, **keywords):
    """Let transformers alone answer the same prompts; return the token ids of the answers."""
    generate = type(model).generate
    generate = getattr(generate, "__wrapped__", generate)  # without the shim
    ids = data.batch["input_ids"]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        answered = generate(
            model,
            input_ids=ids,
            attention_mask=data.batch["attention_mask"],
            do_sample=False,
            max_new_tokens=RESPONSE_LENGTH,
            min_new_tokens=RESPONSE_LENGTH,
            pad_token_id=data.meta_info["pad_token_id"],
            **keywords,
        )
    return answered[:, ids.shape[1] :].tolist()


def precisions():
    """In which precisions verl's products and its sharded weights are computed."""
    with torch.autocast(device_type="cpu", dtype=torch.bfloat16):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    return sorted({str(product.dtype), str(policy.param_dtype)})


def check_rollout(folder):
    """Answer the same prompts through verl, plainly, and with the trap that the shim mends."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    # No early end, so that every token of every answer is compared.
    model.generation_config.eos_token_id = None
    data = prompts(
        tokenizer, ["Aiko has two eggs and buys three more.", "Ben has", "How many now?"]
    )
    data.meta_info["eos_token_id"] = len(tokenizer) + 1
    return {
        "verl": verl_rollout(model, data),
        "plain": plain_generation(model, data),
        "precisions": precisions(),
        "trap": plain_generation(model, data, position_ids=data.batch["position_ids"]),
    }


def check_exported(folder):
    """Compare a checkpoint's Hugging Face format with the shards that the trainer saved."""
    shards = [
        torch.load(Path(folder, f"model_world_size_2_rank_{rank}.pt"), weights_only=False)
        for rank in (0, 1)
    ]
    whole = {name: torch.cat([shard[name].to_local() for shard in shards]) for name in shards[0]}
    exported = load_file(Path(folder, "huggingface", "model.safetensors"))
    reloaded = AutoModelForCausalLM.from_pretrained(Path(folder, "huggingface"))
    parameters = dict(reloaded.named_parameters())
    return {
        "tensors": len(exported),
        "names": sorted(whole) == sorted(exported),
        "file": all(torch.equal(exported[name], whole[name]) for name in exported),
        "reloaded": all(torch.equal(parameters[name], whole[name]) for name in parameters),
    }


if __name__ == "__main__":
    check = {"rollout": check_rollout, "exported": check_exported}[sys.argv[1]]
    print(json.dumps(check(sys.argv[2])))
