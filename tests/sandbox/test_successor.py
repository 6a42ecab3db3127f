"""A node dies under a job that is waited for: another job comes by itself, and the wait goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .conftest import Cluster
from .faults import kill_node, mend
from .test_slurm_job import Stage

pytestmark = [pytest.mark.sandbox, pytest.mark.slurm]

SECOND_TIME_LUCKY = """\
if [ "$MNRUN_ATTEMPT" = 1 ]; then srun sleep 300; fi
srun hostname
"""


@pytest.fixture
def stage(sandbox: Cluster, tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(sandbox, tmp_path, f"successor-{time.time_ns()}")
    yield stage
    if "down" in sandbox.run("sinfo -h -o %T"):
        mend(sandbox)
    stage.clear()


def test_a_job_whose_node_died_gets_a_successor_by_itself(stage: Stage) -> None:
    with ThreadPoolExecutor() as threads:
        call = threads.submit(stage.call, SECOND_TIME_LUCKY, wait=True)
        records = f"ls tests/{stage.outside.parent.name}/*/.mnrun/sft/*"
        stage.sandbox.wait(records, r"start-1\.json")
        kill_node(stage.sandbox, "osk-gpu95")
        # Slurm would notice by itself in half a minute (test_continuation.py waits for that).
        down = "scontrol update nodename=osk-gpu95 state=down reason=dead"
        stage.sandbox.run(down, "root@login")
        record = next(stage.outside.rglob("record.json"))
        deadline = time.monotonic() + 120
        while len(attempts := json.loads(record.read_text())["attempts"]) < 2:
            assert time.monotonic() < deadline, attempts
            time.sleep(0.5)
        mend(stage.sandbox)
        answer = call.result(120)
    assert not answer.get("failed"), answer["msg"]
    assert (answer["attempt"], answer["action"]) == (2, "submitted")
    assert (attempts[0]["state"], attempts[0]["lost_nodes"]) == ("NODE_FAIL", "osk-gpu95")
    shown = "\n".join(stage.lines)
    assert "Cause: a node failed (osk-gpu95)." in shown
    assert "(attempt 2)" in shown
    assert len(stage.names()) == 2
