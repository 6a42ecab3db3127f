"""A training that stands still: noticed in its job, its rank named by evidence, and retried."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from .conftest import Cluster
from .mnrun import Run, mnrun

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(900)]

FILES = Path(__file__).parent / "files"
SOON: dict[str, Any] = {
    "mnrun_trainer": "command",
    "mnrun_stall_minutes": 0.1,
    "mnrun_stall_factor": 3,
}
RUN = f"~/training/stall-{time.time():.0f}"


@pytest.fixture(scope="module")
def scripts(sandbox: Cluster) -> Iterator[Cluster]:
    """The trainers in the user's home, and a FIFO that no one writes to."""
    for name in ("own_steps.py", "own_rl.py"):
        shutil.copy(FILES / name, sandbox.home / name)
        sandbox.run(f"chmod 644 ~mluser/{name}", "root@login")
    sandbox.run("rm -f fifo; mkfifo fifo")
    yield sandbox
    sandbox.end_jobs(RUN.removeprefix("~/"), word="USR1")
    sandbox.run(f"rm -rf {RUN}* fifo")


def sft(name: str, guard: Any = None, **given: Any) -> Run:
    own: dict[str, Any] = {"mnrun_run_dir": f"{RUN}-{name}", "sft_trainer": "~/own_steps.py"}
    return mnrun("sft", **own, sft_options=given, mnrun_guard=guard or {}, **SOON)


def evidence(cluster: Cluster, name: str, stage: str = "sft") -> list[dict[str, Any]]:
    folder = cluster.home / f"{RUN}-{name}/.mnrun/{stage}".removeprefix("~/")
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*/stall-1-osk-*.json"))]


def test_a_rank_that_waits_for_a_file_is_named_and_the_next_attempt_finishes(
    scripts: Cluster,
) -> None:
    done = sft("fifo", max_steps=20, pace=0.3, read_at="12:~/fifo")
    assert done.code == 0, done.text
    assert "Cause: the training stood still (rank 0 on osk-gpu94 waits for a file" in done.text
    assert "The next attempt resumes from step 11." in done.text
    found = evidence(scripts, "fifo")
    assert [one["node"] for one in found] == ["osk-gpu94", "osk-gpu95"]
    assert "own_steps.py" in "".join(found[0]["stacks"].values())


@pytest.mark.torture
def test_a_rank_that_is_stopped_is_named(scripts: Cluster) -> None:
    with ThreadPoolExecutor() as pool:
        running = pool.submit(sft, "stop", max_steps=60, pace=0.5)
        log = f"{RUN}-stop/sft/logs/*.out"
        scripts.wait(f"cat {log}", "step=9 ", timeout=200)
        line = scripts.run(f"grep -ho 'rank 0 is process .*' {log}")
        process, _of, node = line.split()[-3:]
        scripts.run(f"kill -STOP {process}", f"root@{node}")
        done = running.result()
    assert done.code == 0, done.text
    assert f"(rank 0 on {node} is stopped (SIGSTOP))" in done.text


@pytest.mark.torture
def test_a_training_that_diverges_is_retried_once_with_what_the_user_names(
    scripts: Cluster,
) -> None:
    given = {"max_steps": 40, "pace": 0.5, "rate": 2.0, "nan_at": 8}
    refused = sft("nan", **given, guard={"finite": True})
    assert refused.code != 0
    assert "Cause: the training diverged" in refused.text
    assert "Loss: not finite since step 8." in refused.text
    done = sft("then", **given, guard={"finite": True, "then": {"rate": 0.5}})
    assert done.code == 0, done.text
    assert "Cause: the training diverged" in done.text
    assert "/checkpoint-7" in scripts.run(f"cat {RUN}-then/sft/logs/*.out")  # it resumed from
    assert "passed_over.checkpoint-8" in scripts.run(f"ls {RUN}-then/sft/checkpoints")


@pytest.mark.torture
def test_a_worker_of_ppo_that_is_stopped_is_named_and_the_next_cluster_finishes(
    scripts: Cluster,
) -> None:
    own: dict[str, Any] = {
           "ppo_trainer": "~/own_rl.py", "sft_trainer": "~/own_steps.py", "sft_options": {},
           "ppo_model": "~/model/Llama-3.2-1B-Instruct", "mnrun_run_dir": f"{RUN}-ppo"}  # fmt: skip
    options = {"max_steps": 40, "pace": 1.0}
    with ThreadPoolExecutor() as pool:
        running = pool.submit(mnrun, "ppo", ppo_options=options, **own, **SOON)
        scripts.wait(f"cat {RUN}-ppo/ppo/logs/*.log", "step=8 ", timeout=400)
        line = scripts.run("pgrep -u mluser -f '^ray::Worker' | head -n 1", "root@osk-gpu95")
        scripts.run(f"kill -STOP {line}", "root@osk-gpu95")
        done = running.result()
    assert done.code == 0, done.text
    assert "Cause: the training stood still (ray::Worker" in done.text
    assert "on osk-gpu95 is stopped (SIGSTOP))" in done.text
    assert [one["node"] for one in evidence(scripts, "ppo", "ppo")] == ["osk-gpu94", "osk-gpu95"]
