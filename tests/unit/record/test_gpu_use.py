"""What a job wrote about the use of its GPUs, read back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cluster_use
import pytest
from ansible_collections.mnrun.train.plugins.module_utils.record import gpu_use
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import Attempt

ATTEMPT = Attempt(2, "t0ken", "sft", 0.0, job_id="12")


def written(busy: int, memory: int) -> dict[str, Any]:
    use = cluster_use.Use(None)
    for _ in range(10):
        use.add(f"0, GPU-aa, {memory}, 143771, {busy}")
    return {"job_id": "12", **use.figures()}


def put(folder: Path, node: str, data: object, number: int = 2) -> None:
    (folder / f"gpus-{number}-{node}.json").write_text(json.dumps(data))


def test_all_nodes_of_an_attempt_are_one_line(tmp_path: Path) -> None:
    put(tmp_path, "n1", written(90, 50_000))
    put(tmp_path, "n2", written(76, 62_464))
    put(tmp_path, "n3", written(1, 143_000), number=1)
    found = gpu_use.read(tmp_path, ATTEMPT)
    assert found is not None
    assert found["text"] == "GPUs 83 % busy, 61 of 140 GiB"
    assert (found["gpus"], found["seconds"], list(found["nodes"])) == (2, 10, ["n1", "n2"])
    assert found["nodes"]["n1"]["busy_percents"] == [90] * 10
    assert gpu_use.read(tmp_path, replace(ATTEMPT, job_id="13")) is None


@pytest.mark.parametrize(
    "data",
    [
        [], {}, {"job_id": "12", "gpus": 1}, {"job_id": "12", "gpus": [1]},
        {**written(1, 1), "busy_percents": ["x"]}, {**written(1, 1), "seconds_a_bin": None},
        {**written(1, 1), "gpus": [{"seconds": True}]}, {**written(1, 1), "gpus": []},
    ],
)  # fmt: skip
def test_what_is_of_another_form_counts_for_nothing(tmp_path: Path, data: object) -> None:
    put(tmp_path, "n1", data)
    assert gpu_use.read(tmp_path, ATTEMPT) is None


def test_a_folder_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    assert gpu_use.read(tmp_path / "none", ATTEMPT) is None
    (tmp_path / "gpus-2-n1.json").mkdir()
    assert gpu_use.read(tmp_path, ATTEMPT) is None
