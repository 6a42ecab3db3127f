"""A node's GPUs and cores, between a training and the services beside it."""

from __future__ import annotations

import os

import pytest
from cluster_share import (
    ShareError,
    keep_service_cores,
    keep_training_cores,
    of_service,
    of_training,
)


def test_gpus_are_divided_and_none_is_given_twice() -> None:
    visible = "4,5,6,7"
    parts = [of_training(visible, 3), of_service(visible, 1, 2), of_service(visible, 2, 0)]
    assert parts == ["4", "5", "6,7"]
    assert of_service(visible, 0, 2) == ""
    assert of_training(visible, 0) == visible
    with pytest.raises(ShareError, match="it needs 5 GPUs for services, the job has 4"):
        of_service(visible, 3, 2)


@pytest.fixture
def bound(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    calls: list[list[int]] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {8, 9, 10, 11})
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cores: calls.append(list(cores)))
    return calls


def test_cores_are_divided_where_the_job_is_confined(bound: list[list[int]]) -> None:
    env = {"SLURM_CPUS_ON_NODE": "4"}
    keep_training_cores(3, env)
    keep_service_cores(1, 2, env)
    keep_service_cores(2, 0, env)
    assert bound == [[8], [9], [10, 11]]
    keep_service_cores(0, 0, env)
    keep_training_cores(4, env)
    assert len(bound) == 3


def test_cores_of_others_are_left_alone(bound: list[list[int]]) -> None:
    keep_training_cores(1, {"SLURM_CPUS_ON_NODE": "2"})
    keep_service_cores(1, 0, {})
    assert bound == []
