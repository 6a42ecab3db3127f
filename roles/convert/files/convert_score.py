"""How well a model answers held-out rows, by verl's own reward function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from convert_check import Loaded, load_other
from convert_errors import ConversionError
from verl.utils.reward_score import default_compute_score

_SEED = 20
_READ = ("data_source", "prompt", "reward_model", "extra_info")


def scores(loaded: Loaded, settings: dict[str, Any]) -> dict[str, Any]:
    """The share of rows answered right: greedy, and drawn at temperature 1 as in training.

    Of the base model, the model that the training began with, and the converted one.
    """
    wanted = settings["score"]
    rows = _rows([Path(path) for path in wanted["files"]], wanted["rows"])
    others = {"base": settings["base_model"]["path"], **wanted["others"]}
    found = {}
    for name, path in others.items():
        found[name] = _score(load_other(Path(path)), rows, wanted, name)
    found[settings["stage"]] = _score(loaded, rows, wanted, settings["stage"])
    return {"rows": len(rows), "reward": "verl.utils.reward_score", "models": found}


def metrics(found: dict[str, Any]) -> dict[str, float]:
    """As metrics of a stage: the scores of the model that it started from, and of its result."""
    *_, first, last = found["models"].values()
    numbers = {f"first_{kind}_score": value for kind, value in first.items()}
    numbers.update({f"{kind}_score": value for kind, value in last.items()})
    for name, value in numbers.items():
        print(f"mnrun: {name}={value}", flush=True)  # mnrun reads them from the log
    return numbers


def _rows(files: list[Path], most: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for path in files:
        rows += pq.read_table(path, columns=list(_READ)).to_pylist()
    if not rows:
        raise ConversionError(f"{', '.join(map(str, files))} hold no rows to score answers on")
    return rows[:most] if most else rows


def _score(
    loaded: Loaded, rows: list[dict[str, Any]], wanted: dict[str, Any], name: str
) -> dict[str, float]:
    found = {}
    for kind, drawn in (("greedy", False), ("sampled", True)):
        torch.manual_seed(_SEED)
        answers = [
            answer
            for start in range(0, len(rows), wanted["batch"])
            for answer in _answers(loaded, rows[start : start + wanted["batch"]], wanted, drawn)
        ]
        pairs = zip(rows, answers, strict=True)
        found[kind] = sum(_reward(row, answer) for row, answer in pairs) / len(rows)
    print(f"mnrun: score of {name}: {found} on {len(rows)} rows", flush=True)
    return found


def _answers(
    loaded: Loaded, rows: list[dict[str, Any]], wanted: dict[str, Any], drawn: bool
) -> list[str]:
    tokenizer = loaded.tokenizer
    texts = [
        tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, tokenize=False)
        for row in rows
    ]
    given = tokenizer(
        texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False
    )
    ids, mask = (given[name].to(loaded.device) for name in ("input_ids", "attention_mask"))
    how = {"temperature": 1.0, "top_p": 1.0, "top_k": 0} if drawn else dict.fromkeys(
        ("temperature", "top_p", "top_k")
    )  # fmt: skip
    with torch.inference_mode():
        made = loaded.model.generate(
            ids,
            attention_mask=mask,
            max_new_tokens=wanted["tokens"],
            do_sample=drawn,
            pad_token_id=tokenizer.pad_token_id,
            **how,
        )
    return list(tokenizer.batch_decode(made[:, ids.shape[1] :], skip_special_tokens=True))


def _reward(row: dict[str, Any], answer: str) -> float:
    truth = row["reward_model"]["ground_truth"]
    try:
        found = default_compute_score(row["data_source"], answer, truth, row.get("extra_info"))
    except NotImplementedError as error:
        raise ConversionError(f"verl has no reward function for these rows: {error}") from error
    return float(found["score"] if isinstance(found, dict) else found)
