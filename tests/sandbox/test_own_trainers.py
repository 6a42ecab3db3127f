"""Trainers of a user's own, not verl: a script under torchrun, a program on each GPU, and one on
the Ray cluster."""

from __future__ import annotations

import re
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
SCRIPTS = ("own_sft.py", "own_steps.py", "own_rl.py")
RUN = f"~/training/own-{time.time():.0f}"


@pytest.fixture(scope="module")
def scripts(sandbox: Cluster) -> Iterator[Cluster]:
    """The scripts in the user's home; the run's folder is removed at the end."""
    for name in SCRIPTS:
        shutil.copy(FILES / name, sandbox.home / name)
        sandbox.run(f"chmod 644 ~mluser/{name}", "root@login")
    yield sandbox
    sandbox.end_jobs(RUN.removeprefix("~/"), word="USR1")
    sandbox.run(f"rm -rf {RUN}* {' '.join(SCRIPTS)}")


def sft(given: dict[str, Any], trainer: str = "command", **variables: Any) -> Run:
    program = {"torchrun": "~/own_sft.py", "command": "~/own_steps.py"}[trainer]
    own: dict[str, Any] = {"mnrun_trainer": trainer, "sft_trainer": program}
    return mnrun("sft", mnrun_run_dir=RUN, sft_options=given, **own, **variables)


def on_ray(*command: str, **given: Any) -> Run:
    own: dict[str, Any] = {
        "mnrun_trainer": "command",
        "ppo_trainer": "~/own_rl.py",
        "sft_trainer": "~/own_steps.py",
        "sft_options": {},
    }
    model = "~/model/Llama-3.2-1B-Instruct"
    return mnrun(*command, mnrun_run_dir=RUN, ppo_options=given, ppo_model=model, **own)


def checkpoints(cluster: Cluster, stage: str) -> set[str]:
    return set(cluster.run(f"ls {RUN}/{stage}/checkpoints").split())


def test_a_script_under_torchrun_trains_once(scripts: Cluster) -> None:
    first = sft({"max_steps": 4}, "torchrun", sft_gate="always")
    assert first.code == 0, first.text
    said = scripts.run(f"grep -h '^.gate. ' {RUN}/sft/logs/*.out")
    assert re.search(
        r"all-reduce: [\d.]+ GB/s over all ranks; by node: osk-gpu94 [\d.]+, osk-", said
    )
    assert re.search(
        r"passed in [\d.]+ s: 2 nodes, no GPUs \(ready: osk-gpu94 [\d.]+ s, osk-", said
    )
    assert "step 4/4" in first.text or "4 steps" in first.text
    assert {f"checkpoint-{n}" for n in range(1, 5)} <= checkpoints(scripts, "sft")
    again = sft({"max_steps": 4}, "torchrun")
    assert (again.code, again.changed) == (0, 0), again.text
    assert re.search(r"^sft  job \d+ COMPLETED, 4 steps", again.text, re.MULTILINE), again.text


def test_other_options_train_again_and_a_failure_is_explained(scripts: Cluster) -> None:
    failed = sft({"max_steps": 4, "fail_at": 3})
    assert failed.code != 0
    assert "ValueError: the loss of step 3 is not a number" in failed.text
    assert "The newest complete checkpoint is step 2" in failed.text
    assert checkpoints(scripts, "sft") == {"checkpoint-1", "checkpoint-2"}


def test_a_killed_training_resumes_from_its_newest_complete_checkpoint(scripts: Cluster) -> None:
    given = {"max_steps": 5, "hold_at": 3}
    started = sft(given, sft_wait=False)
    assert started.code == 0, started.text
    scripts.wait(f"ls {RUN}/sft/checkpoints/checkpoint-3", "complete.json", timeout=300)
    newest = f"$(ls -t {RUN}/sft/logs/*.out | head -n 1)"
    line = scripts.wait(f"grep -o 'rank 0 is process .*' {newest}", "process")
    process, _of, node = line.split()[-3:]
    scripts.run(f"kill -9 {process}", f"root@{node}")
    scripts.wait("squeue --me -h -o %j; echo end", "^end$", timeout=120)
    # As if it had been killed while it wrote this one.
    scripts.run(f"rm {RUN}/sft/checkpoints/checkpoint-3/complete.json")
    resumed = sft(given)
    assert resumed.code == 0, resumed.text
    assert "(attempt 2)" in resumed.text
    log = scripts.run(f"cat $(ls -t {RUN}/sft/logs/*.out | head -n 1)")
    assert "/sft/checkpoints/checkpoint-2" in log
    assert "passed_over.checkpoint-3" in checkpoints(scripts, "sft")

    scripts.run(f"truncate -s 10 {RUN}/sft/checkpoints/checkpoint-5/state.pt")
    again = sft(given)
    assert again.code == 0, again.text
    assert again.changed
    log = scripts.run(f"cat $(ls -t {RUN}/sft/logs/*.out | head -n 1)")
    assert "/sft/checkpoints/checkpoint-4" in log


_STOP = (
    "for n in $(seq 900); do p=$(pgrep -f '[c]luster_allreduce.py'); [ $p ] && break; sleep 0.1; "
    "done; kill -STOP $p && echo stopped"
)


@pytest.mark.torture
def test_a_node_that_is_late_for_the_gate_is_named_before_it_trains(scripts: Cluster) -> None:
    with ThreadPoolExecutor() as pool:
        stopped = pool.submit(scripts.run, _STOP, "root@osk-gpu95", 120)
        failed = sft({"max_steps": 3}, sft_gate="always")
        assert stopped.result() == "stopped"
    assert failed.code != 0
    assert re.search(
        r"NodeError: osk-gpu95: it is not ready for the all-reduce \d+ s after", failed.text
    )
    assert "the ranks lost each other (NCCL, gloo or their rendezvous) (osk-gpu95)" in failed.text
    scripts.wait("squeue --me -h -o %j; echo end", "^end$", timeout=120)
    left = scripts.run("pgrep -f '[c]luster_allreduce.py' || echo none", "root@osk-gpu95")
    assert left == "none"


def test_a_script_on_the_ray_cluster(scripts: Cluster) -> None:
    # One cluster for all three; the one that PPO starts for itself is in test_main_path.py.
    cluster = on_ray("ray", "start")
    assert cluster.code == 0, cluster.text
    first = on_ray("ppo", max_steps=4)
    assert first.code == 0, first.text
    failed = on_ray("ppo", max_steps=4, fail_at=3)
    assert failed.code != 0
    assert "ValueError: the reward of step 3 is not a number" in failed.text
    assert checkpoints(scripts, "ppo") == {"checkpoint-1", "checkpoint-2"}
