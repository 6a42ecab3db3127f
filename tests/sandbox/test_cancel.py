"""Ended by a person while somebody waits: told so, and not started again by itself."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from .conftest import Cluster
from .mnrun import mnrun
from .test_slurm_job import STAYS, Stage

pytestmark = [pytest.mark.sandbox, pytest.mark.slurm]


@pytest.fixture
def stage(sandbox: Cluster, tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(sandbox, tmp_path, f"cancel-{time.time_ns()}")
    yield stage
    stage.clear()


def waited_for(stage: Stage, threads: ThreadPoolExecutor) -> tuple[Future[dict[str, Any]], str]:
    """A call that waits for a job, and the job's id once it trains."""
    call = threads.submit(stage.call, STAYS, wait=True)
    stage.sandbox.wait(f"ls tests/{stage.outside.parent.name}/*/.mnrun/sft/*", r"start-1\.json")
    (attempt,) = json.loads(next(stage.outside.rglob("record.json")).read_text())["attempts"]
    return call, str(attempt["job_id"])


@pytest.mark.slurm_core
def test_scancel_by_hand_is_told_and_not_undone(stage: Stage) -> None:
    with ThreadPoolExecutor() as threads:
        call, job = waited_for(stage, threads)
        stage.sandbox.run(f"scancel {job}")
        answer = call.result(60)
    assert answer["failed"]
    assert (answer["cause"]["code"], answer["retryable"]) == ("cancelled", False)
    assert "Run the same command again to continue." in answer["msg"]
    assert len(stage.names()) == 1


def test_mnrun_cancel_ends_it_and_says_by_whom(stage: Stage) -> None:
    with ThreadPoolExecutor() as threads:
        call, job = waited_for(stage, threads)
        run = mnrun("cancel", "sft", mnrun_run_dir=stage.inside)
        answer = call.result(60)
    assert (run.code, run.changed) == (0, 1), run.text
    assert f"sft: Stopped: job {job}. It ended as CANCELLED." in run.text
    stage.sandbox.wait(f"squeue -h -j {job} -t all -o %T", "^CANCELLED$")
    assert (answer["cause"]["code"], answer["retryable"]) == ("cancelled_here", False)
    assert "cancelled by you with `mnrun cancel`" in answer["msg"]
    assert len(stage.names()) == 1

    again = mnrun("cancel", mnrun_run_dir=stage.inside)
    assert (again.code, again.changed) == (0, 0), again.text
    assert "Nothing of this run was running." in again.text


def test_a_job_whose_record_is_damaged_is_named_and_can_be_cancelled(stage: Stage) -> None:
    stage.call(STAYS)
    stage.sandbox.wait(f"ls tests/{stage.outside.parent.name}/*/.mnrun/sft/*", r"start-1\.json")
    path = next(stage.outside.rglob("record.json"))
    path.write_text(path.read_text()[:200])
    status = mnrun("status", mnrun_run_dir=stage.inside)
    assert status.code == 0, status.text
    assert f"{path.parent.name}/record.json is damaged" in status.text
    cancel = mnrun("cancel", mnrun_run_dir=stage.inside)
    assert (cancel.code, cancel.changed) == (0, 1), cancel.text
    assert "It ended as CANCELLED." in cancel.text
    assert len(stage.names()) == 1
