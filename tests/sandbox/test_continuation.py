"""Faults under the real trainer: the right cause on the screen, the right continuation, the final
step as without the fault, and at most `save_freq` steps done again."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Cluster
from .faults import Running, kill_node, mend, record, running

pytestmark = [pytest.mark.sandbox, pytest.mark.torture, pytest.mark.timeout(900)]

SAVE = 40
STEPS = 320
# Small batches make steps of a tenth of a second.
SFT = {
    "data.train_batch_size": 16,
    "data.micro_batch_size_per_gpu": 8,
    "trainer.save_freq": SAVE,
    "trainer.test_freq": 10000,
}

# Of a data set; its epochs are short then.
FIRST_ROWS = (
    "import sys; from pyarrow.parquet import *; "
    "write_table(read_table(sys.argv[1])[:640], sys.argv[2])"
)


@pytest.fixture
def folder(sandbox: Cluster) -> Iterator[str]:
    name = f"~/training/fault-{time.time_ns()}"
    yield name
    sandbox.run("scancel --me", check=False)
    mend(sandbox)
    sandbox.run(f"rm -rf {name}*")


def done_again(text: str) -> int:
    """Steps that the second attempt made once more, by what the screen said."""
    reached = [
        int(step) for step in re.findall(r"step (\d+)/\d+", text.partition("(attempt 2)")[0])
    ]
    (start,) = set(re.findall(r"The next attempt resumes from step (\d+)", text))
    return max(reached) - int(start)


def trained_on(cluster: Cluster, folder: str, stage: str, step: int) -> list[dict[str, Any]]:
    """The attempts of a stage whose result is of `step`."""
    found = record(cluster, folder, stage)
    assert found["output"]["step"] == step
    attempts: list[dict[str, Any]] = found["attempts"]
    return attempts


def reach(command: Running, stage: str, step: int) -> None:
    """Wait until a stage has made more than `step` steps."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        found = re.findall(rf"\[{stage}\] .* step (\d+)/", command.text)
        if found and int(found[-1]) > step:
            return
        assert command.process.poll() is None, command.text
        time.sleep(0.2)
    pytest.fail(command.text)


def test_sft_goes_on_after_its_time_limit(sandbox: Cluster, folder: str, tmp_path: Path) -> None:
    slow = {**SFT, "data.train_batch_size": 8, "data.micro_batch_size_per_gpu": 4}
    given = {"mnrun_run_dir": folder, "sft_overrides": slow}
    with running(tmp_path / "log", "sft", **given) as command:
        reach(command, "sft", SAVE + 5)
        # How many steps a minute makes depends on who else uses this machine.
        sandbox.run("scontrol update jobid=$(squeue --me -h -o %i) timelimit=1")
        code, text = command.end(700)
    assert code == 0, text
    assert "Cause: the job's time limit." in text
    assert 0 <= done_again(text) <= SAVE
    attempts = trained_on(sandbox, folder, "sft", 640)
    assert attempts[0]["state"] == "TIMEOUT"
    assert attempts[-1]["state"] == "COMPLETED"


def test_sft_goes_on_after_a_node_was_killed(sandbox: Cluster, folder: str, tmp_path: Path) -> None:
    with running(tmp_path / "log", "sft", mnrun_run_dir=folder, sft_overrides=SFT) as command:
        reach(command, "sft", SAVE + 5)
        kill_node(sandbox, "osk-gpu95")
        command.until(r"Cause: a node failed \(osk-gpu95\)\.")
        mend(sandbox)
        code, text = command.end()
    assert code == 0, text
    assert 0 <= done_again(text) <= SAVE
    first, second = trained_on(sandbox, folder, "sft", STEPS)
    assert (first["lost_nodes"], second["state"]) == ("osk-gpu95", "COMPLETED")


def test_a_resume_that_makes_no_step_is_noticed_and_cured(
    sandbox: Cluster, folder: str, tmp_path: Path
) -> None:
    epoch = 64
    some = f"{folder}-rows.parquet"
    sandbox.run(f"conda_env/bin/python -c '{FIRST_ROWS}' data/gsm8k/train.parquet {some}")
    given = {
        "mnrun_run_dir": folder,
        "mnrun_train_files": [some],
        "sft_overrides": {
            **SFT,
            "data.train_batch_size": 10,
            "data.micro_batch_size_per_gpu": 5,
            "trainer.save_freq": epoch // 2,
            "trainer.total_epochs": 2,
        },
    }
    with running(tmp_path / "log", "sft", **given) as command:
        reach(command, "sft", epoch + 1)
        sandbox.run("scancel --me")
        code, text = command.end()
    assert code == 1, text
    assert "Cause: cancelled by hand" in text
    with running(tmp_path / "again", "sft", **given) as command:
        code, text = command.end()
    assert code == 0, text
    assert f"the newest complete checkpoint is step {epoch}, not step {2 * epoch}" in text
    assert f"The checkpoint of step {epoch} was skipped" in text
    attempts = trained_on(sandbox, folder, "sft", 2 * epoch)
    assert [attempt["first_step"] for attempt in attempts] == [0, epoch, epoch // 2]


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_training_outlives_its_controller_which_says_how_to_come_back(
    sandbox: Cluster, folder: str, tmp_path: Path, end: signal.Signals
) -> None:
    short = {**SFT, "trainer.total_training_steps": 3 * SAVE}
    given = {"mnrun_run_dir": folder, "sft_overrides": short}
    with running(tmp_path / "log", "sft", **given) as command:
        reach(command, "sft", 10)
        os.killpg(command.process.pid, end)
        code, text = command.end(30)
    if end is not signal.SIGKILL:
        assert code == 128 + end, text
        for word in ("status", "sft", "cancel"):
            assert re.search(rf"^  mnrun {word} -i inventory/sandbox ", text, re.MULTILINE), text
    assert sandbox.run("squeue --me -h -o %T") == "RUNNING"
    with running(tmp_path / "again", "sft", **given) as command:
        code, text = command.end()
    assert code == 0, text
    assert "Attached to job" in text
    assert len(trained_on(sandbox, folder, "sft", 3 * SAVE)) == 1


# PPO: the Ray cluster comes up again, and the Ray job resumes on it

PPO_STEPS, PPO_SAVE = 6, 2
PPO: dict[str, Any] = {
    "ppo_model": "~/model/Llama-3.2-1B-Instruct",
    "ppo_overrides": {
        "trainer.total_training_steps": PPO_STEPS,
        "trainer.save_freq": PPO_SAVE,
        "trainer.test_freq": -1,
        "trainer.val_before_train": False,
    },
}


def kill_raylet(cluster: Cluster, folder: str, node: str) -> None:
    """kill -9 of Ray itself on one node of the run's cluster."""
    job = record(cluster, folder, "ray")["attempts"][-1]["job_id"]
    ours = f"grep -lzs '^SLURM_JOB_ID={job}$' /proc/[0-9]*/environ | cut -d/ -f3"
    line = f'for pid in $({ours}); do [ "$(cat /proc/$pid/comm)" = raylet ] && kill -9 $pid; done'
    cluster.run(f"{line}; true", f"root@{node}")


@pytest.mark.parametrize("fault", ["head", "worker", "node", "head node"])
def test_ppo_goes_on_on_another_ray_cluster(
    sandbox: Cluster, folder: str, tmp_path: Path, fault: str
) -> None:
    with running(tmp_path / "log", "ppo", mnrun_run_dir=folder, **PPO) as command:
        reach(command, "ppo", PPO_SAVE)
        if fault.endswith("node"):
            kill_node(sandbox, "osk-gpu94" if fault == "head node" else "osk-gpu95")
            command.until(r"(?s)\[ppo\].*\[ray\] (?:… )?job \d+ PENDING", 240)
            mend(sandbox)
        else:
            kill_raylet(sandbox, folder, "osk-gpu94" if fault == "head" else "osk-gpu95")
        code, text = command.end()
    assert code == 0, text
    first, second = trained_on(sandbox, folder, "ppo", PPO_STEPS)
    assert (first["first_step"], second["first_step"]) == (0, first["last_step"])
    assert first["last_step"] >= PPO_SAVE
    assert first["reached"] - first["last_step"] <= PPO_SAVE
    cause = "a node failed" if fault.endswith("node") else "the Ray cluster was lost"
    assert f"Cause: {cause}" in text
    assert len(record(sandbox, folder, "ray")["attempts"]) == 2
    sandbox.assert_none_queued()  # the second Ray cluster was taken down too
