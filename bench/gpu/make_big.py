"""Write a model of Llama 3.2 1B's shape with random weights, the toy's tokenizer, and longer rows.

ENVIRONMENT/bin/python bench/gpu/make_big.py HOME UID [NAME SHAPE]

With a name it is that model instead, of which SHAPE (JSON) has what is different.
"""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

ROWS = {"train": 512, "test": 64}
JOINED = 12  # rows of the toy in one of these: some 340 tokens
SHAPE = {
    "vocab_size": 128_256, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "rms_norm_eps": 1e-5,
    "max_position_embeddings": 131_072, "rope_theta": 500_000.0, "tie_word_embeddings": True,
}  # fmt: skip


def model(folder: Path, tokenizer: PreTrainedTokenizerBase, other: dict[str, Any]) -> int:
    """Write the model; its number of weights."""
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    own = {name: getattr(tokenizer, name) for name in names}
    config = LlamaConfig(**{**SHAPE, **other, **own})
    torch.manual_seed(1)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        made = LlamaForCausalLM(config)
    made.to("cpu").save_pretrained(folder)
    tokenizer.model_max_length = 4096
    tokenizer.save_pretrained(folder)
    return sum(weights.numel() for weights in made.parameters())


def rows(source: Path, count: int, dice: random.Random) -> pd.DataFrame:
    """Rows that each hold several of the toy's."""
    toy = pd.read_parquet(source).to_dict("records")
    made = []
    for index in range(count):
        some = [row["extra_info"] for row in dice.sample(toy, JOINED)]
        question = " ".join(row["question"] for row in some)
        answer = "\n".join(row["answer"] for row in some)
        info = {"split": source.stem, "index": index, "question": question, "answer": answer}
        made.append({
            "data_source": "openai/gsm8k",
            "prompt": [{"role": "user", "content": question}],
            "messages": [
                {"role": "user", "content": question},
                {"role": "assistant", "content": answer},
            ],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": "1"},
            "extra_info": info,
        })  # fmt: skip
    return pd.DataFrame(made)


def main() -> None:
    """Write both, for the cluster's user."""
    home, uid = Path(sys.argv[1]), int(sys.argv[2])
    name, shape = sys.argv[3:] or ["big", "{}"]
    tokenizer = AutoTokenizer.from_pretrained(home / "model" / "Llama-3.2-1B-Instruct")
    written = [home / "model" / name]
    if name == "big":
        written.append(home / "data" / name)
        data(home)
    print(model(written[0], tokenizer, json.loads(shape)))
    for path in written:
        for file in (path, *path.iterdir()):
            os.chown(file, uid, uid)


def data(home: Path) -> None:
    """Write the rows."""
    (home / "data" / "big").mkdir(parents=True, exist_ok=True)
    dice = random.Random(3)  # noqa: S311 - the same rows each time
    for split, count in ROWS.items():
        table = rows(home / "data" / "gsm8k" / f"{split}.parquet", count, dice)
        table.to_parquet(home / "data" / "big" / f"{split}.parquet")


if __name__ == "__main__":
    main()
