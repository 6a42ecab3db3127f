"""Whose folder it is, and what stands on what is in it: nothing needed is set aside."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Refused
from ansible_collections.mnrun.train.plugins.module_utils.base.fingerprint import fingerprint
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    Attempt,
    CheckpointRule,
    Phase,
    Record,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.ledger import Ledger
from ansible_collections.mnrun.train.plugins.module_utils.stage.decide import Action
from ansible_collections.mnrun.train.plugins.module_utils.stage.describe import line
from ansible_collections.mnrun.train.plugins.module_utils.stage.present import plan
from ansible_collections.mnrun.train.plugins.module_utils.stage.status import Question, answer

from tests.helpers.checkpoints import write_step
from tests.helpers.stage_run import SPEC, Run

OTHER = {"lr": 0.2, "data": {"path": "train.parquet"}}


def shared(run: Run, name: str, rule: CheckpointRule, stage: str = "sft") -> Run:
    """Another run whose checkpoint folder is set to the first one's."""
    folder = run.folder.parent / name
    folder.mkdir(exist_ok=True)
    request = replace(run.request, run_dir=folder, stage=stage, checkpoints=rule)
    return Run(folder, run.clock, run.slurm, request)


def refused(run: Run, **changes: Any) -> str:
    before = run.slurm.count("sbatch")
    with pytest.raises(Refused) as raised:
        run.present(**changes)
    with pytest.raises(Refused):
        plan(run.stage(**changes))
    assert run.slurm.count("sbatch") == before
    return raised.value.message


def trained(run: Run, ended: str = "FAILED") -> CheckpointRule:
    run.present(checkpoints=run.rule)
    write_step(run.rule.path, 4)
    if ended:
        run.slurm.end(run.job, ended, "1:0")
        run.present(checkpoints=run.rule)
    return run.rule


@pytest.mark.parametrize("spec", [SPEC, OTHER])
def test_a_second_run_with_the_same_checkpoint_folder_is_refused(
    run: Run, spec: dict[str, Any]
) -> None:
    rule = trained(run)
    second = shared(run, "second", rule)
    words = refused(second, spec=spec)
    assert f"the folder of the stage sft of the run {run.folder.name} ({run.folder})" in words
    assert "sft_dir" in words
    assert (rule.path / "global_step_4").is_dir()
    assert json.loads((rule.path / ".mnrun.json").read_text())["fingerprint"] == fingerprint(SPEC)


def test_by_a_link_it_is_the_same_folder(run: Run, tmp_path: Path) -> None:
    rule = trained(run)
    (tmp_path / "link").symlink_to(rule.path.parent)
    second = shared(run, "second", rule._replace(path=tmp_path / "link" / rule.path.name))
    assert "cannot use it" in refused(second)


@pytest.mark.parametrize("where", [".", "inside", "inside/deeper"])
def test_another_stage_of_the_run_and_a_folder_inside_are_refused_too(run: Run, where: str) -> None:
    rule = trained(run)
    ppo = rule._replace(path=rule.path / where)
    second = replace(run.request, stage="ppo")
    other = Run(run.folder, run.clock, run.slurm, second)
    words = refused(other, checkpoints=ppo)
    assert "the folder of the stage sft" in words
    assert "ppo_dir" in words


def test_a_folder_around_another_run_s_is_refused(run: Run) -> None:
    rule = trained(run)
    around = shared(run, "second", rule._replace(path=rule.path.parent))
    assert "overlaps" in refused(around)


def test_of_a_run_that_was_removed_it_can_be_used(run: Run) -> None:
    rule = trained(run)
    second = shared(run, "second", rule)
    run.slurm.jobs[-1].state = "CANCELLED"
    shutil.rmtree(run.folder / ".mnrun")
    assert second.present(spec=OTHER).action is Action.SUBMIT
    assert "cannot use it" in refused(run, checkpoints=rule, spec={"lr": 3})


def test_a_run_whose_file_system_is_not_mounted_keeps_its_folder(run: Run) -> None:
    rule = CheckpointRule(run.folder.parent / "shared" / "checkpoints", [], hf=False)
    inner = shared(run, "disk", rule)
    inner = shared(inner, "disk/run", rule)
    inner.present(spec=SPEC)
    shutil.rmtree(run.folder.parent / "disk")
    assert "cannot use it" in refused(shared(run, "second", rule))


# what stands on what


def ppo(run: Run, phase: Phase, **attempt: Any) -> Record:
    """PPO's record, which started from the SFT with the options SPEC."""
    spec = {"stage": "ppo", "model": {"sft": fingerprint(SPEC), "content": ""}}
    last = Attempt(1, "0a", "ppo-1", 2.0, phase, job_id="ppo-1", state=phase.value, **attempt)
    record = Record("ppo", "ray", fingerprint(spec), spec, {}, [last])
    if phase is Phase.SUCCEEDED:
        record.output = {"step": 8, "path": "/p", "model": "/m", "metrics": {}}
    Ledger(run.folder, "ppo", run.clock).save(record)
    return record


@pytest.mark.parametrize("replace_it", [False, True])
@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.QUEUED, Phase.UNKNOWN])
def test_what_a_live_ppo_stands_on_stays(run: Run, phase: Phase, replace_it: bool) -> None:
    rule = trained(run, ended="")
    run.slurm.end(run.job, "COMPLETED")
    ppo(run, phase)
    words = refused(run, spec=OTHER, checkpoints=rule, replace=replace_it)
    assert "The stage ppo is working, or may be (job ppo-1" in words
    assert "mnrun cancel ppo" in words
    assert (rule.path / "global_step_4").is_dir()


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.CANCELLED, Phase.SUCCEEDED])
def test_what_is_not_finished_or_not_converted_stays_unless_that_is_wanted(
    run: Run, phase: Phase
) -> None:
    rule = trained(run)
    run.slurm.end(run.job, "COMPLETED")
    ppo(run, phase, last_step=4)
    words = refused(run, spec=OTHER, checkpoints=rule)
    assert "-e sft_replace=true" in words
    assert ("not been converted" if phase is Phase.SUCCEEDED else "not finished") in words
    assert run.present(spec=OTHER, checkpoints=rule, replace=True).action is Action.SUBMIT


def test_what_was_converted_or_came_to_nothing_holds_nothing(run: Run) -> None:
    rule = trained(run)
    run.slurm.end(run.job, "COMPLETED")
    done = ppo(run, Phase.SUCCEEDED, last_step=8)
    spec = {"source": {"fingerprint": done.fingerprint}}
    converted = Record("convert-ppo", "slurm", fingerprint(spec), spec, output={"step": 8})
    Ledger(run.folder, "convert-ppo", run.clock).save(converted)
    assert plan(run.stage(spec=OTHER, checkpoints=rule)).action is Action.SUBMIT
    ppo(run, Phase.FAILED)
    assert run.present(spec=OTHER, checkpoints=rule).action is Action.SUBMIT


def test_the_status_shows_which_sft_a_ppo_came_from(run: Run) -> None:
    rule = trained(run, ended="")
    run.slurm.end(run.job, "COMPLETED")
    ppo(run, Phase.SUCCEEDED, last_step=8)
    run.clock.sleep(10)
    run.present(spec=OTHER, checkpoints=rule, replace=True)
    status = answer(Question(run.folder), lambda _record: run.stage().backend, run.clock)
    entries = {entry["stage"]: entry for entry in status.stages}
    assert entries["sft"]["job"]["id"] == "13"
    assert [one["job"] for one in entries["ppo"]["from"]] == ["12"]
    assert "from sft (job 12)" in line(entries["ppo"])
