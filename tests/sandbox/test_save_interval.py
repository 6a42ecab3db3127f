"""How often verl saves where its user leaves that open, and what a time limit then costs. `make
trainers` runs this."""

from __future__ import annotations

import re

import pytest
import yaml

from .conftest import ROOT, Cluster
from .mnrun import mnrun

RUN = "training/save-interval"
# An epoch of 320 steps: verl 0.5 resumes from none of its ends.
STEPS = 300
OPEN = ("trainer.save_freq", "trainer.test_freq", "trainer.project_name", "trainer.experiment_name")

pytestmark = [pytest.mark.sandbox, pytest.mark.trainers, pytest.mark.timeout(2400)]


def test_a_time_limit_costs_little_though_nothing_says_how_often_to_save(sandbox: Cluster) -> None:
    sandbox.run(f"rm -rf {RUN}")
    site = yaml.safe_load((ROOT / "inventory/sandbox/group_vars/all/sft.yml").read_text())
    options = {name: value for name, value in site["sft_options"].items() if name not in OPEN}
    options |= {"trainer.device": "cpu", "trainer.logger": ["console"], "data.train_batch_size": 16,
                "data.micro_batch_size_per_gpu": 8, "trainer.total_training_steps": STEPS,
                "trainer.total_epochs": 1}  # fmt: skip
    done = mnrun(
        "sft", mnrun_run_dir=f"~/{RUN}", sft_options=options, sft_sbatch={"time": 2},
        sft_save_minutes=1, sft_max_attempts=9, timeout=2000,
    )  # fmt: skip
    print(done.text)
    assert done.code == 0, done.text
    assert f"step {STEPS}/{STEPS}" in done.text
    first = re.search(
        r"starts over: there is no checkpoint yet.* saves every (\d+) steps", done.text
    )
    assert first, done.text
    every = [int(one) for one in re.findall(r"saves every (\d+) steps", done.text)]
    resumed = re.findall(r"resumes from step (\d+); step (\d+) had been reached", done.text)
    assert resumed, done.text
    assert all(int(reached) - int(step) <= max(every) for step, reached in resumed)
