"""The toy's files as they are in a user's home: a model folder and two parquet files.

Needs the training environment (pyarrow, torch, transformers).
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import toy_model
import toy_task

MODEL = "model/Llama-3.2-1B-Instruct"
DATA = "data/gsm8k"


def write(home: Path) -> list[str]:
    """Write model and data below the empty folder ``home``; return the files' relative names."""
    (home / DATA).mkdir(parents=True)
    texts = []
    for split in ("train", "test"):
        rows = toy_task.rows(split)
        texts += [entry["extra_info"][key] for entry in rows for key in ("question", "answer")]
        pq.write_table(pa.Table.from_pylist(rows), home / DATA / f"{split}.parquet")
    toy_model.write_model(home / MODEL, texts)
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
