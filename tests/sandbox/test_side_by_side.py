"""Two trainings that start at the same moment on the same nodes do not meet."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from .conftest import Cluster
from .mnrun import Run, mnrun

pytestmark = [pytest.mark.sandbox, pytest.mark.torture, pytest.mark.timeout(300)]

STEPS = {"trainer.total_training_steps": 2, "trainer.save_freq": 2, "trainer.test_freq": 2}


def test_two_sft_jobs_share_their_nodes(sandbox: Cluster) -> None:
    folders = [f"~/training/side-{number}-{time.time():.0f}" for number in range(2)]

    def train(folder: str) -> Run:
        return mnrun("sft", mnrun_run_dir=folder, sft_overrides=STEPS)

    with ThreadPoolExecutor() as pool:
        runs = list(pool.map(train, folders))
    sandbox.run(f"rm -rf {' '.join(folders)}")
    for run in runs:
        assert run.code == 0, run.text
