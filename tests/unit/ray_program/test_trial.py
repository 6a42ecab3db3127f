"""The all-reduce before a training, followed by what its ranks report; srun is a fake here.

Real ranks reduce in tests/sandbox.
"""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

import cluster_allreduce
import cluster_bandwidth
import pytest
from cluster_reports import Wanted

NODES = ["n1", "n2", "n3"]


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def ranks(job: Path, lines: list[str], then: str = "exit 0") -> None:
    """Let srun show these lines."""
    (job / "lines").write_text("".join(f"{line}\n" for line in lines))
    (job / "srun").write_text(f"#!/bin/sh\ncat {job}/lines\n{then}\n")
    (job / "srun").chmod(0o755)


def said(rank: int, at: str, seconds: float = 1.0, **facts: Any) -> str:
    if at == "ready":
        facts = {"faults": [], "warnings": [], "sockets": {}, **facts}
    return f"{rank}: {json.dumps({'at': at, 'rank': rank, 'seconds': seconds, **facts})}"


def measure(job: Path, nodes: list[str] = NODES, **changes: Any) -> cluster_bandwidth.Found:
    wanted = Wanted(nodes, 1, True, "127.0.0.1", "", 64, True, 30, job / "log")._replace(**changes)
    found = cluster_bandwidth.measure(wanted, lambda _: time.sleep(0.02))
    assert not isinstance(found, str)
    return found


def whole(rank: int, pair: float, **facts: Any) -> list[str]:
    return [
        said(rank, "ready", rank + 1.5, **facts),
        said(rank, "joined"),
        said(rank, "pair", gb_per_s=pair),
        said(rank, "pair", gb_per_s=2.0),
        said(rank, "all", gb_per_s=2.0, transport="sockets (eth0)", missed=""),
        said(rank, "done"),
    ]


def test_what_the_ranks_found(job: Path) -> None:
    sockets = {"NCCL_SOCKET_NTHREADS": "4"}
    lines = [*whole(0, 9.0, sockets=sockets), *whole(1, 1.0, sockets=sockets)]
    ranks(job, ["hello", *lines, *whole(2, 9.5, warnings=["GPU 0: warm"], sockets=sockets)])
    found = measure(job)
    assert found.rates == {"all": 2.0, "nodes": {"n1": 9.0, "n2": 2.0, "n3": 9.5}}
    assert found.ready == {"n1": 1.5, "n2": 2.5, "n3": 3.5}
    assert found.transport == "sockets (eth0)"
    assert found.sockets == sockets
    slow = "its all-reduce moves 2 GB/s, less than a third of what most nodes do"
    assert found.warnings == {"n2": [slow], "n3": ["GPU 0: warm"]}


def test_a_job_that_was_suspended_has_no_silent_nodes(
    job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [line for rank in range(3) for line in whole(rank, 2.0)]
    (job / "last").write_text("".join(f"{line}\n" for line in lines if '"done"' in line))
    ranks(job, [line for line in lines if '"done"' not in line], f"sleep 1; cat {job}/last")
    jumps, real = iter([0.0, 0.0, 100.0]), time.monotonic
    behind = [0.0]
    monkeypatch.setattr("cluster_reports.time.monotonic", lambda: real() + behind[0])

    def wait(_: float) -> None:
        time.sleep(0.1)
        behind[0] += next(jumps, 0.0)

    wanted = Wanted(NODES, 1, True, "127.0.0.1", "", 64, True, 30, job / "log")
    assert not isinstance(cluster_bandwidth.measure(wanted, wait), str)


def test_a_better_network_that_is_not_used_is_warned_of(job: Path) -> None:
    lines = [said(0, "ready"), said(0, "done")]
    ranks(job, [*lines, said(0, "all", gb_per_s=1.0, transport="sockets", missed="NCCL uses s")])
    assert measure(job, ["n1"]).warnings == {"n1": ["NCCL uses s"]}


def test_all_faults_are_named_each_once(job: Path) -> None:
    lines = [said(rank, "ready", faults=["torch sees 0 GPUs, 2 expected"]) for rank in (2, 3)]
    lines += [said(rank, "ready") for rank in (0, 1)]
    ranks(job, [*lines, said(4, "ready", faults=["GPU 0: x"]), said(5, "ready")], "exec sleep 60")
    with pytest.raises(cluster_bandwidth.TrialError) as error:
        measure(job, gpus=2)
    faults = {"n2": ["torch sees 0 GPUs, 2 expected"], "n3": ["GPU 0: x"]}
    assert error.value.faults == faults
    assert "n2: torch sees 0 GPUs, 2 expected\nn3: GPU 0: x" in str(error.value)


def test_a_fault_does_not_wait_for_a_node_that_never_comes(
    job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_bandwidth, "_GATHER", 0.2)
    ranks(job, [said(0, "ready", faults=["GPU 0: x"]), said(1, "alive")], "exec sleep 60")
    with pytest.raises(cluster_bandwidth.TrialError) as error:
        measure(job)
    assert error.value.faults == {"n1": ["GPU 0: x"]}


def test_a_late_node_is_named(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_bandwidth, "_LATE", 0.3)
    early = [said(0, "ready", 0.01), said(2, "ready", 0.02), said(1, "alive")]
    ranks(job, early, "exec sleep 60")
    with pytest.raises(cluster_bandwidth.TrialError) as error:
        measure(job)
    (fault,) = error.value.faults["n2"]
    assert "is not ready for the all-reduce" in fault


def test_a_silent_node_is_named(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_bandwidth, "_SILENT", 0.5)
    ready = [said(rank, at) for rank in range(3) for at in ("ready", "joined")]
    beats = "; ".join(f"echo '{said(rank, 'alive')}'" for rank in (0, 2))
    ranks(job, ready, f"for n in $(seq 300); do {beats}; sleep 0.1; done")
    with pytest.raises(cluster_bandwidth.TrialError) as error:
        measure(job)
    assert list(error.value.faults) == ["n2"]
    assert "does not answer in the all-reduce before the training" in error.value.faults["n2"][0]


def test_what_does_not_end_names_who_is_behind(job: Path) -> None:
    lines = [said(rank, "ready") for rank in range(3)]
    lines += [said(rank, at) for rank in (0, 1) for at in ("joined", "alive")]
    ranks(job, lines, "exec sleep 60")
    with pytest.raises(cluster_bandwidth.TrialError, match="did not end in 0 s") as error:
        measure(job, seconds=0.3)
    assert error.value.nodes == ["n3"]


def test_a_rank_that_fails_is_named_with_the_end_of_the_log(job: Path) -> None:
    ranks(job, [said(0, "ready"), "1: RuntimeError: CUDA error: x"], "exit 1")
    with pytest.raises(cluster_bandwidth.TrialError, match="failed, exit code 1") as error:
        measure(job)
    assert error.value.nodes == ["n2"]
    assert "    1: RuntimeError: CUDA error: x" in str(error.value)


@pytest.mark.parametrize("count", range(1, 10))
def test_each_node_is_in_two_pairs_and_never_in_both_at_once(count: int) -> None:
    rounds = list(cluster_allreduce.rounds(count))
    for pairs in rounds:
        busy = list(itertools.chain(*pairs))
        assert len(busy) == len(set(busy))
    together = [node for pairs in rounds for pair in pairs for node in pair]
    assert sorted(together) == sorted([*range(count), *range(count)] if count > 2 else [])
