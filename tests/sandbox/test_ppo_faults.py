"""PPO under real verl: its Ray cluster's time limit, `mnrun cancel`, and a node that stays away."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Cluster
from .faults import kill_node, record, running
from .mnrun import mnrun
from .place import beside
from .ray_runs import Run
from .test_cluster_life import OwnCluster, assert_nothing_left
from .test_continuation import PPO, PPO_SAVE, PPO_STEPS, folder, reach, trained_on

__all__ = ["folder"]  # a fixture

pytestmark = [pytest.mark.sandbox, pytest.mark.torture, pytest.mark.timeout(1500)]

LIMIT = 3  # minutes
LONG = 50  # steps: more than fit into the limit, and none is saved but for it and the last


def test_ppo_saves_before_its_cluster_s_time_limit_and_goes_on(
    sandbox: Cluster, folder: str, tmp_path: Path
) -> None:
    options = {"trainer.total_training_steps": LONG, "trainer.save_freq": LONG,
               "trainer.total_epochs": 2}  # fmt: skip
    given = {**PPO, "ppo_overrides": {**PPO["ppo_overrides"], **options},
             "ray_cluster_sbatch": {"time": str(LIMIT)}}  # fmt: skip
    with running(tmp_path / "log", "ppo", mnrun_run_dir=folder, **given) as command:
        command.until(r"Cause: the job's time limit\.", 400)
        second = command.until(r"(?s)time limit.*\[ray\] (?:… )?job (\d+) RUNNING", 200).group(1)
        sandbox.run(f"scontrol update jobid={second} timelimit=60", "root@login")
        code, text = command.end(900)
    assert code == 0, text
    first, last = trained_on(sandbox, folder, "ppo", LONG)
    assert record(sandbox, folder, "ray")["attempts"][0]["state"] == "TIMEOUT"
    print(f"saved at {first['last_step']}, trained {first['reached']}, of {LONG}")
    assert 0 < first["last_step"] < LONG, "saved because the limit was near"
    assert first["reached"] - first["last_step"] <= 1
    assert (last["first_step"], last["phase"]) == (first["last_step"], "succeeded")
    sandbox.assert_none_queued()


@pytest.mark.parametrize("words", [["cancel"], ["cancel", "ppo"]])
def test_a_training_ppo_is_cancelled(
    sandbox: Cluster, folder: str, tmp_path: Path, words: list[str]
) -> None:
    with running(tmp_path / "log", "ppo", mnrun_run_dir=folder, **PPO) as command:
        reach(command, "ppo", 1)
        job = record(sandbox, folder, "ray")["attempts"][-1]["job_id"]
        cancel = mnrun(*words, mnrun_run_dir=folder)
        began = time.monotonic()
        code, text = command.end(120)
        waited = time.monotonic() - began
    assert cancel.code == 0, cancel.text
    assert "ppo: Stopped: job ppo-" in cancel.text  # its Ray cluster: by this one, or by the other
    print(f"the controller knew {waited:.0f} s after mnrun cancel was done:\n{text}")
    assert code == 1, text
    assert "Cause: cancelled by you with `mnrun cancel`." in text
    assert "the token of the Ray cluster" not in text
    assert waited < 60
    (attempt,) = record(sandbox, folder, "ppo")["attempts"]
    assert attempt["phase"] == "cancelled"
    assert attempt["cancelled_by"].startswith("mnrun cancel by ")
    assert len(record(sandbox, folder, "ray")["attempts"]) == 1
    sandbox.assert_none_queued()
    assert Run(sandbox, "cancelled").leftovers(job) == []


@pytest.fixture
def three(sandbox: Cluster) -> Iterator[OwnCluster]:
    """A cluster of three nodes, with the training environment and the toy of the default one."""
    cluster = OwnCluster(beside("three"))
    home = os.path.realpath(sandbox.home / "conda_env")
    cluster.change(nodes=3, accounting=False, conda_env=home)
    for name in ("model", "data"):
        shutil.copytree(sandbox.home / name, cluster.home / name)
    yield cluster
    cluster.change("down")
    assert_nothing_left(cluster)
    shutil.rmtree(cluster.directory)


def test_ppo_goes_on_without_the_node_that_failed(three: OwnCluster, tmp_path: Path) -> None:
    folder = "~/training/three"
    given: dict[str, Any] = {"mnrun_run_dir": folder, "sandbox_dir": str(three.directory),
                             "mnrun_nodelist": "", **PPO}  # fmt: skip
    with running(tmp_path / "log", "ppo", **given) as command:
        reach(command, "ppo", PPO_SAVE)
        kill_node(three, "osk-gpu95")
        code, text = command.end(700)
    assert code == 0, text
    assert "Cause: a node failed (osk-gpu95)." in text
    first, second = trained_on(three, folder, "ppo", PPO_STEPS)
    assert second["first_step"] == first["last_step"]
    clusters = record(three, folder, "ray")["attempts"]
    assert [cluster["nodes"] for cluster in clusters] == ["osk-gpu[94-95]", "osk-gpu[94,96]"]
