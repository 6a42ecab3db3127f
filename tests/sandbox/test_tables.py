"""Data of other forms becomes the trainers' parquet: in the training environment, by the fetch."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import Cluster
from .mnrun import mnrun
from .plays import in_environment

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(300)]

LINES = '{"prompt": "1+1?", "response": "2"}\n\n{"prompt": "2+2?", "response": "4"}\n'
SHARD = [{"instruction": "Add.", "input": f"{n}+1", "output": f"{n + 1}"} for n in range(5000)]
BAD = '{"prompt": "1+1?"}\nnot json\n[1]\n{"prompt": "a", "response": "b"}\n'


def test_tables_are_made_once_whole_and_of_what_they_should_be(
    sandbox: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    cases = [
        (True, "a.parquet", ["rows.jsonl"], ""),
        (False, "a.parquet", ["rows.jsonl"], ""),
        (False, "a.parquet", ["rows.jsonl"], ""),
        (True, "a.parquet", ["rows.jsonl", "shards"], ""),
        (False, "b.parquet", ["shards"], "alpaca"),
        (False, "bad.parquet", ["bad.jsonl"], ""),
        (False, "rows.jsonl", ["bad.jsonl"], ""),
        (False, "shards/0.parquet", ["rows.jsonl"], ""),
        (False, "c.parquet", ["none.jsonl"], ""),
        (False, "c.parquet", ["empty"], ""),
        (False, "c.parquet", ["none.json"], ""),
    ]
    given: dict[str, Any] = {
        "folder": str(tmp_path),
        "files": {"rows.jsonl": LINES, "bad.jsonl": BAD, "none.json": "[]"},
        "tables": {"shards/0.parquet": SHARD[:10], "shards/1.parquet": SHARD[10:]},
        "cases": cases,
    }
    looked, first, again, mixed, sharded, *refused = in_environment(
        sandbox, "table_cases.py", given
    )
    assert looked == {"changed": True, "rows": 2, "read": None}
    assert (first["changed"], first["rows"]) == (True, 2)
    assert first["read"][1]["extra_info"] == {"index": 1, "question": "2+2?", "answer": "4"}
    assert first["read"][1]["prompt"] == [{"role": "user", "content": "2+2?"}]
    assert again == {**first, "changed": False}
    # The first row's form is that of all.
    assert "5000 rows cannot be converted as prompt_response" in mixed["error"]
    assert sharded["rows"] == len(sharded["read"]) == 5000
    assert sharded["read"][4999]["messages"][0]["content"] == "Add.\n\n4999+1"
    bad, taken, others, missing, empty, other = [one["error"] for one in refused]
    assert "bad.jsonl:1: it has prompt; a row has messages, or" in bad
    assert "bad.jsonl:2: it is not JSON" in bad
    assert "bad.jsonl:3: it is no JSON object" in bad
    assert "3 rows cannot be converted" in bad
    assert refused[0]["left"] == []
    assert "was not made by mnrun" in taken
    assert "was not made by mnrun" in others
    assert "There is no" in missing
    assert "holds no file with rows" in empty
    assert "has another ending than .jsonl" in other


def test_the_fetch_makes_what_is_missing_and_no_more(sandbox: Cluster) -> None:
    folder = f"tables-{time.time():.0f}"
    there = sandbox.home / folder
    sandbox.run(f"mkdir {folder}")
    (there / "train.jsonl").write_text(LINES)
    (there / "test.jsonl").write_text(LINES)
    names = ("train", "test")
    tables = [
        {"target": f"~/{folder}/{name}.parquet", "sources": [f"~/{folder}/{name}.jsonl"]}
        for name in names
    ]
    given: dict[str, Any] = {
        "fetch_tables": tables,
        "mnrun_train_files": [tables[0]["target"]],
        "mnrun_test_files": [tables[1]["target"]],
    }
    looked = mnrun("fetch", "--check", "--diff", **given)
    assert looked.code == 0, looked.text
    assert "+prompt_response" in looked.text or "+2" in looked.text, looked.text
    assert "parquet" not in sandbox.run(f"ls {folder}")
    made = mnrun("fetch", **given)
    # The activation script may be another test's.
    assert made.code == 0, made.text
    assert "✓ Convert data of other forms" in made.text
    again = mnrun("fetch", **given)
    assert (again.code, again.changed) == (0, 0), again.text
    (there / "train.jsonl").write_text(LINES + json.dumps({"prompt": "3?", "response": "3"}))
    other = mnrun("fetch", **given)
    assert (other.code, other.changed) == (0, 1), other.text
    sandbox.run(f"rm -r {folder}")
