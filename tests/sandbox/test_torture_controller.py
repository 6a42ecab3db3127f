"""The controller, ended by SIGKILL again and again on its way: exactly once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT, Cluster
from .mnrun import mnrun
from .ray_runs import Run
from .torture import FILES

pytestmark = [pytest.mark.sandbox, pytest.mark.torture, pytest.mark.timeout(1800)]

STEPS = {"trainer.total_training_steps": 2, "trainer.save_freq": 2, "trainer.test_freq": 2}


@pytest.fixture
def ray(sandbox: Cluster) -> Iterator[Run]:
    run = Run(sandbox, f"torture-{time.time_ns()}")
    yield run
    run.play("stop")
    sandbox.run(f"rm -rf {run.folder}")


def controller(ray: Run, point: int) -> int:
    """One controller: Ray up, a job on it, down. The exit code; it dies at a point, by number."""
    variables = {"mnrun_run_dir": ray.folder, "steps": ["start", "job", "stop"], "way": "well"}
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "tests/sandbox/ray.yml"]
    command += ["-i", "inventory/sandbox", "-e", json.dumps(variables)]
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_CALLBACK_PLUGINS": str(FILES),
        "ANSIBLE_CALLBACKS_ENABLED": "killer",
        "TORTURE_POINT": str(point),
    }
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        start_new_session=True,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stdout + done.stderr
    return done.returncode


def test_a_controller_killed_again_and_again_on_its_way(ray: Run) -> None:
    """Each controller dies a few tasks later than the one before it, until one comes through."""
    killed = 0
    while controller(ray, point=1 + 3 * killed):
        killed += 1
    records = ray.sandbox.run(f"cat {ray.folder}/.mnrun/ppo/*/record.json")
    (attempt,) = json.loads(records)["attempts"]
    assert attempt["state"] == "SUCCEEDED"
    assert ray.driver_log().count("Total training steps") == 1
    clusters = ray.sandbox.run(f"squeue --me -h -t all -o '%T %Z' | grep {ray.name}").splitlines()
    alive = [line for line in clusters if line.split()[0] in ("RUNNING", "PENDING", "COMPLETING")]
    print(f"\n{killed} controllers killed, 1 finished; 1 Ray job submitted and started; "
          f"{len(clusters)} Ray clusters, {len(alive)} left alive")  # fmt: skip
    assert alive == []
    assert killed >= 8


def test_mnrun_all_killed_at_random_moments(sandbox: Cluster) -> None:
    """The real training: killed four times on its way, then left to finish."""
    folder = f"training/torture-{time.time():.0f}"
    variables: dict[str, Any] = {
        "mnrun_run_dir": f"~/{folder}",
        "sft_overrides": STEPS,
        "ppo_overrides": STEPS,
    }
    command = [sys.executable, "-m", "mnrun", "all", "-i", "inventory/sandbox"]
    command += ["-e", json.dumps(variables)]
    chance = random.Random(3)  # noqa: S311 - the same moments in each run
    killed = 0
    for _ in range(4):
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            process.wait(chance.uniform(5, 35))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
            process.wait()
    run = mnrun("all", **variables)
    assert run.code == 0, run.text
    assert mnrun("all", **variables).changed == 0
    names = sandbox.run(f"sacct -n -X -P -o JobName,State,WorkDir | grep {folder}").splitlines()
    attempts = [
        len(json.loads(text)["attempts"])
        for stage in ("sft", "ppo")
        for text in [sandbox.run(f"cat {folder}/.mnrun/{stage}/*/record.json")]
    ]
    print(f"\n{killed} controllers killed; jobs: {sorted(names)}; attempts of SFT, PPO: {attempts}")
    assert attempts == [1, 1]
    assert len({name.split("|")[0] for name in names}) == len(names)
    assert all("-1|COMPLETED|" in name for name in names)
    alive = f"squeue --me -h -t running,pending -o %Z | grep {folder}"
    assert sandbox.run(alive, check=False) == ""
    sandbox.run(f"rm -rf {folder}")
