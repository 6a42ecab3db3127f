"""A run that an earlier version made, as it was on the cluster, is read by this one.

`recorded` was made on the sandbox by the commit 761096c (the profile `command`, four steps of SFT
and of PPO each), and is never made again: what it would be today is not what it is about.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.clock import Clock
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    CheckpointRule,
    Record,
    Request,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.ledger import Ledger, _sum
from ansible_collections.mnrun.train.plugins.module_utils.runs.report import reported
from ansible_collections.mnrun.train.plugins.module_utils.runs.training_runs import (
    chosen,
    described,
)
from ansible_collections.mnrun.train.plugins.module_utils.slurm.client import SlurmClient

from mnrun.report.page import page
from tests.helpers.fake_slurm import FakeClock, FakeSlurm
from tests.helpers.stage_run import Run

RECORDED = Path(__file__).parent / "recorded"
THERE = "/home/mluser/old"  # where it was
STAGES = ("sft", "ppo")


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """The run at another place, as if it had always been there."""
    folder = tmp_path / "run"
    shutil.copytree(RECORDED, folder)
    for path in folder.rglob("*.json"):
        path.write_text(path.read_text().replace(THERE, str(folder)))
    for path in folder.glob(".mnrun/*/*/record.json"):
        data = json.loads(path.read_text())
        data["sum"] = _sum({key: data[key] for key in data if key != "sum"})
        path.write_text(json.dumps(data))
    return folder


def client() -> SlurmClient:
    return SlurmClient(FakeSlurm(FakeClock()), FakeClock())


def record_of(folder: Path, stage: str) -> Record:
    (record,) = Ledger(folder, stage, Clock()).records()
    return record


@pytest.mark.parametrize("stage", [*STAGES, "ray"])
def test_the_records_are_whole_as_they_were_written(stage: str) -> None:
    record = record_of(RECORDED, stage)
    assert record.stage == stage
    assert record.spec


def test_status_and_runs_show_it(run_dir: Path) -> None:
    (run,) = chosen(run_dir, [])
    found = {one["stage"]: one for one in described(run, client(), FakeClock())["stages"]}
    assert set(STAGES) <= set(found)
    for stage in STAGES:
        assert found[stage]["job"]["phase"] == "succeeded"
        assert found[stage]["output"]["step"] == 4
    assert found["sft"]["output"]["metrics"]["loss"] > 0


def test_a_report_has_its_curves(run_dir: Path) -> None:
    (run,) = chosen(run_dir, ["default"])
    found = reported(run, client(), FakeClock(), 600)
    stages: dict[str, Any] = {one["stage"]: one for one in found["stages"]}
    assert [step for step, _ in stages["sft"]["curves"]["loss"]] == [1, 2, 3, 4]
    assert len(stages["ppo"]["curves"]["reward"]) == 4
    assert found["damaged"] == []
    assert "<svg" in page([found], "old", "1")


@pytest.mark.parametrize("damaged", [False, True])
def test_the_same_work_is_done_once(run_dir: Path, damaged: bool) -> None:
    """Damaged: the last checkpoint is not what it was, so that the answer is not always the
    same."""
    record = record_of(run_dir, "sft")
    clock = FakeClock()
    slurm = FakeSlurm(clock)
    rule = CheckpointRule(run_dir / "sft" / "checkpoints", [], hf=False, trainer=record.trainer)
    request = Request(
        run_dir, "sft", "slurm", "sft", record.spec, checkpoints=rule, trainer=record.trainer
    )
    if damaged:
        (run_dir / "sft" / "checkpoints" / "checkpoint-4" / "complete.json").unlink()
    outcome = Run(run_dir, clock, slurm, request).present()
    assert bool(slurm.jobs) is damaged
    assert (outcome.output or {}).get("step") == (None if damaged else 4)
