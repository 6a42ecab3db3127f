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


def in_ray(tmp_path: Path, start: float | None, end: float | None) -> dict[str, Any] | None:
    """What is read of a Ray job whose cluster was followed from 1000 to 1020, busy from 1010 on."""
    cluster = tmp_path / "ray" / "abc"
    cluster.mkdir(parents=True)
    for node in ("n1", "n2"):
        data = {**written(40, 9), "start": 1000.0, "seconds_a_bin": 2}
        put(cluster, node, {**data, "busy_percents": [0] * 5 + [80] * 5}, number=1)
    (tmp_path / "ppo" / "def").mkdir(parents=True)
    job = replace(ATTEMPT, job_id="ppo-1", head_job="12", start=start, end=end)
    return gpu_use.read(tmp_path / "ppo" / "def", job)


def test_a_ray_job_has_its_part_of_its_cluster_s_time(tmp_path: Path) -> None:
    found = in_ray(tmp_path, 1008.0, 1016.0)
    assert found is not None
    assert (found["gpus"], found["seconds"], found["busy_percent"]) == (2, 8, 60.0)
    assert found["nodes"]["n2"]["busy_percents"] == [0, 80, 80, 80]
    assert found["idle_gpu_seconds"] == 24  # of two nodes with one each, 12 s
    assert found["text"].endswith(", 24 GPU-seconds idle")


def test_a_ray_job_that_runs_has_its_cluster_s_time_until_now(tmp_path: Path) -> None:
    found = in_ray(tmp_path, 1010.0, None)
    assert found is not None
    assert (found["busy_percent"], found["idle_gpu_seconds"]) == (80.0, 20)


@pytest.mark.parametrize(("start", "end"), [(None, None), (1030.0, 1040.0), (900.0, 950.0)])
def test_a_ray_job_outside_its_cluster_s_time_has_no_use(
    tmp_path: Path, start: float | None, end: float | None
) -> None:
    assert in_ray(tmp_path, start, end) is None


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
