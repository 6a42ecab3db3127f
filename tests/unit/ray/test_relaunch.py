"""Whether a Ray cluster that did not come up can be started anew without the nodes at fault."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.clock import Clock
from ansible_collections.mnrun.train.plugins.module_utils.base.process import Result
from ansible_collections.mnrun.train.plugins.module_utils.ray.cluster import Cluster
from ansible_collections.mnrun.train.plugins.module_utils.ray.relaunch import (
    Spare,
    find_spare,
    was_slow,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    Attempt,
    Phase,
    Record,
)
from ansible_collections.mnrun.train.plugins.module_utils.slurm.client import SlurmClient

NOW = 1_800_000_000.0


def ended(folder: Path) -> Cluster:
    """The cluster of job 7, which is over."""
    attempt = Attempt(1, "t", "ray-1", 1.0, phase=Phase.FAILED, job_id="7")
    record = Record("ray", "slurm", "0" * 64, {}, attempts=[attempt])
    return Cluster(record, attempt, True, "", folder, None)


def ask(
    folder: Path, faulty: Any, starts_in: float | None = 0.0, already: str = ""
) -> tuple[Spare | None, list[list[str]]]:
    """What comes of a job 7 that left this faulty.json, while Slurm says when the next starts."""
    if faulty is not None:
        text = faulty if isinstance(faulty, str) else json.dumps(faulty)
        (folder / "faulty.json").write_text(text)
    (folder / "script.sh").write_text("#!/bin/bash\ntrue\n")
    calls = []

    def run(command: list[str], seconds: float, stdin: str) -> Result:
        calls.append(command)
        if starts_in is None:
            return Result(1, "", "allocation failure: Requested nodes are not available")
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(NOW + starts_in))
        return Result(0, "", f"sbatch: Job 8 to start at {at} using 8 processors on nodes c")

    return find_spare(ended(folder), SlurmClient(run, Clock()), NOW, already), calls


def fault(nodes: list[str], of: list[str], job_id: str = "7") -> dict[str, Any]:
    return {"job_id": job_id, "nodes": nodes, "of": of}


def test_the_nodes_at_fault_are_left_out_if_others_are_free(tmp_path: Path) -> None:
    spare, calls = ask(tmp_path, fault(["b"], ["a", "b"]))
    assert spare == Spare(["b"], "b")
    assert calls == [["sbatch", "--test-only", "--exclude=b", str(tmp_path / "script.sh")]]


def test_nodes_that_were_left_out_before_stay_out(tmp_path: Path) -> None:
    spare, _ = ask(tmp_path, fault(["b"], ["a", "b"]), already="x[1-2]")
    assert spare == Spare(["b"], "x[1-2],b")


def test_a_single_node_may_be_replaced(tmp_path: Path) -> None:
    assert ask(tmp_path, fault(["a"], ["a"]))[0] == Spare(["a"], "a")


@pytest.mark.parametrize(
    "faulty",
    [
        None,
        "",
        "{",
        "[]",
        fault([], ["a", "b"]),
        fault(["a", "b"], ["a", "b"]),  # all of several: not the nodes
        fault(["b"], ["a", "b"], job_id="6"),  # of another job
    ],
)
def test_without_nodes_at_fault_slurm_is_not_even_asked(tmp_path: Path, faulty: Any) -> None:
    assert ask(tmp_path, faulty) == (None, [])


@pytest.mark.parametrize("starts_in", [None, 3600.0])
def test_no_new_start_where_none_are_free_now(tmp_path: Path, starts_in: float | None) -> None:
    assert ask(tmp_path, fault(["b"], ["a", "b"]), starts_in)[0] is None


@pytest.mark.parametrize(
    ("report", "slow"),
    [
        ({**fault(["a", "b"], ["a", "b"]), "slow": True}, True),
        ({**fault(["a"], ["a", "b"]), "slow": False}, False),
        (fault(["a"], ["a", "b"]), False),  # of an mnrun before this one
        ({**fault(["a"], ["a"], job_id="6"), "slow": True}, False),
        ({**fault(["a"], ["a"]), "slow": "yes"}, False),
        ([], False),
    ],
)
def test_whether_it_only_took_too_long(tmp_path: Path, report: Any, slow: bool) -> None:
    (tmp_path / "faulty.json").write_text(json.dumps(report))
    assert was_slow(ended(tmp_path)) is slow
