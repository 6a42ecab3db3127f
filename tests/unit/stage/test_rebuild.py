"""A record that was damaged or lost is made again from Slurm and what the jobs wrote."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import (
    Damaged,
    Newer,
    Refused,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    NOT_SUBMITTED,
    Phase,
)
from ansible_collections.mnrun.train.plugins.module_utils.runs.backends import slurm_or_ray
from ansible_collections.mnrun.train.plugins.module_utils.slurm.client import SlurmClient
from ansible_collections.mnrun.train.plugins.module_utils.stage.absent import absent
from ansible_collections.mnrun.train.plugins.module_utils.stage.decide import Action
from ansible_collections.mnrun.train.plugins.module_utils.stage.present import plan
from ansible_collections.mnrun.train.plugins.module_utils.stage.scope import Only
from ansible_collections.mnrun.train.plugins.module_utils.stage.status import Question, answer
from ansible_collections.mnrun.train.plugins.module_utils.stage.stop import StopRule

from tests.helpers.checkpoints import write_step
from tests.helpers.crashes import arrive_late, claim, cut_off, folder_of
from tests.helpers.stage_run import SPEC, Run

OTHER = {"lr": 0.2}


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_text(""),
    "cut": lambda path: path.write_text(path.read_text()[:200]),
    "another job": lambda path: path.write_text(path.read_text().replace('"12"', '"13"')),
    "lost": lambda path: path.unlink(),
    "a pipe": make_pipe,
}


def damage(run: Run, kind: str = "cut") -> Path:
    path = folder_of(run) / "record.json"
    DAMAGES[kind](path)
    return path


def end(run: Run, code: int) -> None:
    """The job ends, and says so by itself."""
    token = run.job.comment.rpartition("token=")[2]
    text = json.dumps({"job_id": run.job.job_id, "token": token, "exit_code": code, "end": 2})
    (folder_of(run) / "end-1.json").write_text(text)
    run.slurm.end(run.job, "FAILED" if code else "COMPLETED", f"{code}:0")


@pytest.mark.parametrize("kind", ["empty", "cut", "another job"])
def test_a_waiting_job_is_found_again(run: Run, kind: str) -> None:
    run.present()
    old = damage(run, kind).read_text()
    outcome = run.present()
    assert outcome.action is Action.ADOPT
    assert "was damaged or lost, and was rebuilt" in outcome.notes[0]
    assert (run.attempt().job_id, run.attempt().state) == ("12", "PENDING")
    (kept,) = folder_of(run).glob("record.damaged-*.json")
    assert kept.read_text() == old
    assert str(kept) in outcome.notes[0]
    assert run.present().notes == []
    assert len(run.slurm.jobs) == 1


def test_where_there_are_no_hard_links_it_is_made_again_too(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_paths: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    run.present()
    old = damage(run).read_bytes()
    assert run.present().action is Action.ADOPT
    (kept,) = folder_of(run).glob("record.damaged-*.json")
    assert kept.read_bytes() == old


@pytest.mark.parametrize("kind", list(DAMAGES))
def test_a_running_job_is_found_again_by_what_it_wrote(run: Run, kind: str) -> None:
    run.present()
    run.slurm.run(run.job)
    claim(run, "12")
    damage(run, kind)
    assert run.present().action is Action.ADOPT
    assert (run.attempt().job_id, run.attempt().state) == ("12", "RUNNING")
    assert len(run.slurm.jobs) == 1


@pytest.mark.parametrize("accounting", [True, False])
@pytest.mark.parametrize("kind", list(DAMAGES))
def test_a_stage_that_is_done_stays_done(run: Run, kind: str, accounting: bool) -> None:
    run.slurm.accounting = accounting
    run.present(checkpoints=run.rule)
    run.slurm.run(run.job)
    claim(run, "12")
    write_step(run.rule.path, 4)
    end(run, 0)
    run.clock.sleep(1000)  # slurmctld has forgotten it
    damage(run, kind)
    outcome = run.present(checkpoints=run.rule)
    assert (outcome.action, outcome.output and outcome.output["step"]) == (Action.NOTHING, 4)
    assert run.attempt().phase is Phase.SUCCEEDED


def test_a_successor_knows_the_attempts_before_it(run: Run) -> None:
    run.present(checkpoints=run.rule)
    run.slurm.run(run.job)
    claim(run, "12")
    write_step(run.rule.path, 2)
    end(run, 1)
    run.present(checkpoints=run.rule)
    damage(run)
    assert run.present(checkpoints=run.rule).action is Action.ADOPT
    first, second = run.record().attempts
    assert (first.number, first.phase, first.exit_code) == (1, Phase.FAILED, 1)
    assert (second.number, second.job_id) == (2, "13")


def test_a_job_that_cannot_be_found_is_waited_for_and_then_given_up(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(run, monkeypatch)
    damage(run)
    begun = run.clock.now()
    os.utime(folder_of(run) / "script.sh", (begun, begun))
    assert run.present().action is Action.SUBMIT
    assert run.clock.now() - begun >= 150
    assert [a.state for a in run.record().attempts] == [NOT_SUBMITTED, "PENDING"]
    arrive_late(run)
    assert run.present().action is Action.ATTACH


def test_another_spec_s_record_is_made_again_by_the_request_beside_it(run: Run) -> None:
    run.present(labels={"owner": "me"})
    damage(run)
    with pytest.raises(Refused, match=r"Job 12 (?s:.*)lr: 0\.1 -> 0\.2"):
        run.present(spec={**OTHER, "data": {"path": "train.parquet"}})
    assert run.attempt().job_id == "12"
    assert run.record().labels == {"owner": "me"}


def test_another_spec_s_record_is_made_again_by_its_checkpoints(run: Run) -> None:
    run.present(checkpoints=run.rule)
    damage(run)
    (folder_of(run) / "request.json").unlink()
    with pytest.raises(Refused, match=r"Job 12 (?s:.*)lr: 0\.1 -> 0\.2"):
        run.present(spec={**OTHER, "data": {"path": "train.parquet"}}, checkpoints=run.rule)
    assert run.attempt().job_id == "12"


def test_what_cannot_be_made_again_for_sure_is_refused(run: Run) -> None:
    run.present()
    path = damage(run)
    request = folder_of(run) / "request.json"
    request.write_text(request.read_text().replace("0.1", "0.3"))
    with pytest.raises(Damaged, match="to other options than the current ones"):
        run.present(spec=OTHER)
    (folder_of(run) / "script.sh").unlink()
    with pytest.raises(Damaged, match="neither a script nor a job's own record"):
        run.present()
    assert path.exists()
    assert len(run.slurm.jobs) == 1


def test_a_plan_changes_nothing(run: Run) -> None:
    run.present()
    before = damage(run).read_text()
    with pytest.raises(Damaged, match="Running the stage itself rebuilds it"):
        plan(run.stage())
    assert (folder_of(run) / "record.json").read_text() == before


@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize("kind", ["empty", "cut", "another job"])
def test_a_job_with_a_damaged_record_can_be_cancelled(run: Run, kind: str, runs: bool) -> None:
    run.present(labels={"owner": "me"})
    if runs:
        run.slurm.run(run.job)
        claim(run, "12")
    damage(run, kind)
    bare = run.stage(spec={}, name="sft")  # who cancels knows the stage and nothing else
    outcome = absent(bare, Only(), StopRule(), check=False, cancelled_by="mnrun cancel by me")
    assert (outcome.action, run.job.state.split()[0]) == (Action.STOP, "CANCELLED")
    assert "was rebuilt" in outcome.notes[0]
    assert run.attempt().cancelled_by == "mnrun cancel by me"
    assert run.record().labels == {"owner": "me"}


def test_what_is_not_ours_is_left_alone_also_when_its_record_was_damaged(run: Run) -> None:
    run.present(labels={"owner": "user"})
    damage(run)
    only = Only(labels={"owner": "ppo"})
    assert absent(run.stage(spec={}), only, StopRule(), check=False).action is Action.NOTHING
    assert run.job.state == "PENDING"


def test_the_others_are_told_beside_a_damaged_record(run: Run) -> None:
    run.present()
    run.present(stage="convert")
    run.present(spec={**SPEC, "lr": 0.3}, stage="other")
    path = damage(run)
    client = SlurmClient(run.slurm, run.clock)
    told = answer(Question(run.folder), slurm_or_ray(run.folder, client), run.clock)
    assert [entry["stage"] for entry in told.stages] == ["convert", "other"]
    (damaged,) = told.damaged
    assert damaged["stage"] == "sft"
    assert str(path) in damaged["msg"]


@pytest.mark.parametrize("stopped", [False, True])
def test_a_record_of_a_later_mnrun_is_neither_rebuilt_nor_acted_on(run: Run, stopped: bool) -> None:
    run.present()
    path = folder_of(run) / "record.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    before = path.read_bytes()
    with pytest.raises(Newer, match="so nothing is done for this stage"):
        absent(run.stage(), Only(), StopRule(), check=False) if stopped else run.present()
    assert (path.read_bytes(), len(run.slurm.jobs)) == (before, 1)
    assert not run.job.ended
