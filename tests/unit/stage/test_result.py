"""The table "what a re-run does", lower half: how the last job ended, and what it left."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base import mounts as mounts_of_host
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Refused, Unknown
from ansible_collections.mnrun.train.plugins.module_utils.base.fingerprint import fingerprint
from ansible_collections.mnrun.train.plugins.module_utils.result.ownership import MARKER
from ansible_collections.mnrun.train.plugins.module_utils.stage.conclude import conclude
from ansible_collections.mnrun.train.plugins.module_utils.stage.decide import Action
from ansible_collections.mnrun.train.plugins.module_utils.stage.present import plan
from ansible_collections.mnrun.train.plugins.module_utils.trainer.checkpoint import weights_identity

from tests.helpers.checkpoints import write_step
from tests.helpers.stage_run import SPEC, Run

OTHER = {"lr": 0.2, "data": {"path": "train.parquet"}}


# completed, same spec, output verifies -> nothing


def finished(run: Run, step: int = 4) -> None:
    run.present(checkpoints=run.rule)
    write_step(run.rule.path, step)
    run.slurm.end(run.job, "COMPLETED")


def test_done_and_whole_does_nothing(run: Run) -> None:
    finished(run)
    run.clock.sleep(10_000)
    outcome = run.present(checkpoints=run.rule)
    assert outcome.action is Action.NOTHING
    assert outcome.output == {
        "step": 4,
        "path": f"{run.rule.path}/global_step_4",
        "model": f"{run.rule.path}/global_step_4/huggingface",
        "metrics": {},
        "content": weights_identity(run.rule.path / "global_step_4" / "huggingface"),
    }
    calls = len(run.slurm.calls)
    assert run.present(checkpoints=run.rule).action is Action.NOTHING
    assert len(run.slurm.calls) == calls, "a settled stage asks Slurm nothing"


def test_the_content_of_a_result_tells_one_training_from_another(run: Run) -> None:
    finished(run)
    first = run.present(checkpoints=run.rule).output
    shard = run.rule.path / "global_step_4" / "model_world_size_2_rank_1.pt"
    shard.write_bytes(b"damaged")
    run.present(checkpoints=run.rule)
    write_step(run.rule.path, 4)
    with zipfile.ZipFile(shard, "w") as file:
        file.writestr("data", "other weights")
    run.slurm.end(run.job, "COMPLETED")
    second = run.present(checkpoints=run.rule).output
    assert first is not None
    assert second is not None
    assert first["content"] != second["content"]
    assert {**first, "content": ""} == {**second, "content": ""}


def test_done_work_that_was_set_aside_still_counts(run: Run) -> None:
    finished(run)
    run.present(checkpoints=run.rule)
    run.present(checkpoints=run.rule, spec=OTHER)
    run.slurm.end(run.job, "FAILED", "1:0")
    outcome = run.present(checkpoints=run.rule)
    assert outcome.action is Action.NOTHING
    assert outcome.output is not None
    assert f"checkpoints.{fingerprint(SPEC)[:12]}/global_step_4" in outcome.output["path"]


# completed, but the output is missing or damaged -> says so, runs again


def test_done_without_a_result_runs_again_and_says_so(run: Run) -> None:
    run.present(checkpoints=run.rule)
    run.slurm.end(run.job, "COMPLETED")
    outcome = run.present(checkpoints=run.rule)
    assert outcome.action is Action.RESUBMIT
    assert "ended as COMPLETED, but its result is not complete" in outcome.why
    assert outcome.faults
    assert "contains no checkpoint" in outcome.why


def test_with_a_damaged_result_the_step_that_is_left_is_named(run: Run) -> None:
    run.present(checkpoints=run.rule)
    for step in (2, 4):
        write_step(run.rule.path, step)
    run.slurm.end(run.job, "COMPLETED")
    run.present(checkpoints=run.rule)
    next((run.rule.path / "global_step_4").glob("optim*")).unlink()
    assert "The next attempt resumes from step 2." in run.present(checkpoints=run.rule).why


def test_done_with_a_damaged_result_runs_again_and_names_the_file(run: Run) -> None:
    finished(run)
    run.present(checkpoints=run.rule)
    shard = next((run.rule.path / "global_step_4").glob("optim*"))
    shard.write_bytes(shard.read_bytes()[:20])
    outcome = run.present(checkpoints=run.rule)
    assert outcome.action is Action.RESUBMIT
    assert f"{shard} is truncated" in outcome.why


def test_done_with_an_older_checkpoint_only_runs_again(run: Run) -> None:
    run.present(checkpoints=run.rule)
    write_step(run.rule.path, 2)
    write_step(run.rule.path, 4)
    run.slurm.end(run.job, "COMPLETED")
    run.present(checkpoints=run.rule)
    (run.rule.path / "global_step_4").rename(run.folder / "moved")
    (run.rule.path / "latest_checkpointed_iteration.txt").unlink()
    outcome = run.present(checkpoints=run.rule)
    assert outcome.action is Action.RESUBMIT
    assert "newest complete checkpoint is step 2, not step 4" in outcome.why


def test_a_resume_that_did_nothing_and_reported_success_is_not_done(run: Run) -> None:
    finished(run)
    run.log("Total training steps: 8\n")
    outcome = run.present(checkpoints=run.rule)
    assert outcome.action is Action.RESUBMIT
    assert "newest complete checkpoint is step 4, not step 8" in outcome.why


# failed, timed out, node failed, preempted -> a successor, bounded


@pytest.mark.parametrize(
    "state", ["FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY", "BOOT_FAIL"]
)
def test_a_job_that_failed_gets_a_successor(run: Run, state: str) -> None:
    run.present(checkpoints=run.rule)
    write_step(run.rule.path, 3)
    run.slurm.end(run.job, state, "1:0")
    outcome = run.present(checkpoints=run.rule)
    assert outcome.action is Action.RESUBMIT
    assert f"Job 12 ended as {state} with exit code 1" in outcome.why
    assert "resumes from step 3" in outcome.why
    first, second = run.record().attempts
    assert (first.first_step, first.last_step, second.first_step) == (0, 3, 3)
    assert run.job.name.endswith("-2")


def test_attempts_without_a_new_checkpoint_are_bounded(run: Run) -> None:
    for _ in range(3):
        run.present(checkpoints=run.rule)
        run.slurm.end(run.job, "FAILED", "1:0")
    with pytest.raises(Refused, match="3 attempts in a row brought no new checkpoint"):
        run.present(checkpoints=run.rule)
    assert len(run.slurm.jobs) == 3
    assert run.present(checkpoints=run.rule, replace=True).action is Action.RESUBMIT


def test_a_new_checkpoint_makes_room_for_more_attempts(run: Run) -> None:
    for number in range(1, 6):
        assert run.present(checkpoints=run.rule).attempt is not None
        write_step(run.rule.path, number)
        run.slurm.end(run.job, "TIMEOUT")
    assert len(run.slurm.jobs) == 5


def test_what_a_person_cancelled_starts_again_by_hand_and_does_not_count(run: Run) -> None:
    for _ in range(4):
        run.present(max_attempts=1)
        run.slurm.end(run.job, "CANCELLED by 2000")
    outcome = run.present(max_attempts=1)
    assert outcome.action is Action.RESUBMIT
    assert "ended as CANCELLED" in outcome.why


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "CANCELLED by 2000"])
def test_a_service_that_is_over_is_started_anew(run: Run, state: str) -> None:
    for _ in range(5):
        assert run.present(service=True).action is Action.SUBMIT
        run.slurm.end(run.job, state)


# checkpoints of another spec -> set aside, never resumed from, never deleted


def test_checkpoints_of_another_spec_are_set_aside_and_come_back(run: Run) -> None:
    finished(run)
    outcome = run.present(checkpoints=run.rule, spec=OTHER)
    aside = run.folder / f"checkpoints.{fingerprint(SPEC)[:12]}"
    assert (aside / "global_step_4").is_dir()
    assert [path.name for path in run.rule.path.iterdir()] == [MARKER]
    assert outcome.notes
    assert "were moved to" in outcome.notes[0]
    run.slurm.end(run.job, "FAILED", "1:0")
    (next(aside.glob("global_step_4/model*"))).unlink()
    outcome = run.present(checkpoints=run.rule)
    assert (run.rule.path / "passed_over.global_step_4").is_dir()  # it lacks a shard
    assert not aside.exists()
    assert "were moved back" in outcome.notes[0]


def test_checkpoints_of_nobody_are_set_aside(run: Run) -> None:
    write_step(run.rule.path, 7)
    run.present(checkpoints=run.rule)
    (aside,) = run.folder.glob("checkpoints.unknown-*")
    assert (aside / "global_step_7").is_dir()
    assert run.attempt().first_step == 0


def test_a_refused_or_unknown_situation_moves_no_checkpoints(run: Run) -> None:
    finished(run)
    run.present(checkpoints=run.rule, spec=OTHER)
    with pytest.raises(Refused):
        run.present(checkpoints=run.rule)
    run.slurm.down = True
    with pytest.raises(Unknown):
        run.present(checkpoints=run.rule)
    assert (run.folder / f"checkpoints.{fingerprint(SPEC)[:12]}").is_dir()


# an answer that cannot be trusted -> waits, then reports; never submits, never cancels


@pytest.mark.parametrize("spec", [SPEC, OTHER])
def test_without_an_answer_nothing_is_submitted_or_cancelled(run: Run, spec: object) -> None:
    run.present(spec=spec)
    run.slurm.down = True
    run.clock.sleep(1000)
    begun = run.clock.monotonic()
    with pytest.raises(Unknown, match="Unable to contact slurm controller"):
        run.present(replace=True)
    assert 60 <= run.clock.monotonic() - begun < 70
    assert (run.slurm.count("sbatch"), run.slurm.count("scancel")) == (1, 0)


def test_an_answer_that_comes_back_in_time_is_used(run: Run) -> None:
    run.present()
    run.slurm.down = True
    run.clock.after(30, lambda: setattr(run.slurm, "down", False))
    assert run.present().action is Action.ATTACH


def test_a_job_without_a_trace_is_not_a_success(run: Run) -> None:
    run.slurm.accounting = False
    finished(run)
    run.clock.sleep(1000)
    outcome = run.present(checkpoints=run.rule)
    assert outcome.action is Action.RESUBMIT
    assert "its end was not recorded" in outcome.why


# killed after the last checkpoint, same spec, output verifies -> nothing


def killed(run: Run, state: str, step: int = 4) -> None:
    run.present(checkpoints=run.rule)
    run.slurm.run(run.job)
    run.log("total number of steps 4\nstep:4 - train/loss:0.5\nstep:4 - val/loss:0.25\n")
    write_step(run.rule.path, step)
    run.slurm.end(run.job, state, "1:0" if state == "FAILED" else "0:0")


@pytest.mark.parametrize("state", ["TIMEOUT", "FAILED", "NODE_FAIL", "CANCELLED", "PREEMPTED"])
@pytest.mark.parametrize("by_hand", [False, True])
def test_a_job_killed_after_its_last_checkpoint_has_done_its_work(
    run: Run, state: str, by_hand: bool
) -> None:
    killed(run, state)
    if not by_hand:
        outcome = conclude(run.stage(checkpoints=run.rule), 1, 100)
        assert (outcome.problem, outcome.cause, outcome.retryable) == ("", None, False)
        assert "complete all the same" in outcome.why
        assert outcome.output == run.record().output
    again = run.present(checkpoints=run.rule)
    assert (again.action, again.why) == (
        Action.NOTHING,
        "Already done, and its result is complete.",
    )
    assert again.output is not None
    assert again.output["metrics"]["val_loss"] == 0.25
    assert again.output["content"]
    assert len(run.slurm.jobs) == 1


@pytest.mark.parametrize("step", [2, 3])
def test_a_job_killed_before_its_last_checkpoint_goes_on(run: Run, step: int) -> None:
    killed(run, "TIMEOUT", step)
    assert run.present(checkpoints=run.rule).action is Action.RESUBMIT


def test_a_job_killed_without_an_announced_end_proves_nothing(run: Run) -> None:
    killed(run, "TIMEOUT")
    run.log("step:4 - train/loss:0.5\n")
    assert run.present(checkpoints=run.rule).action is Action.RESUBMIT


SHORTER = (
    "total number of steps 2\n",
    "Total training steps: 2\n",
    "total number of steps 2\nstep:2 - train/loss:0.5\n",
    "Total training steps: 2\nstep:2 - train/loss:0.5\n",
)


@pytest.mark.parametrize("line", SHORTER)
@pytest.mark.parametrize("before", [True, False])
def test_a_line_of_the_users_code_does_not_make_a_killed_job_done(
    run: Run, line: str, before: bool
) -> None:
    """It may be exactly like the trainer's, and come first."""
    run.present(checkpoints=run.rule)
    write_step(run.rule.path, 2)
    trainers = "total number of steps 4\nstep:1 - train/loss:0.9\nstep:3 - train/loss:0.5\n"
    run.log(line + trainers if before else trainers + line)
    run.slurm.end(run.job, "TIMEOUT")
    assert run.present(checkpoints=run.rule).action is Action.RESUBMIT


@pytest.mark.parametrize("line", [*SHORTER, "total number of steps 99\n"])
@pytest.mark.parametrize("before", [True, False])
def test_such_a_line_does_not_make_a_job_that_ended_well_a_failure(
    run: Run, line: str, before: bool
) -> None:
    run.present(checkpoints=run.rule)
    write_step(run.rule.path, 4)
    trainers = "".join(f"step:{n} - train/loss:0.5\n" for n in range(1, 5))
    run.log(
        (line if before else "") + f"total number of steps 4\n{trainers}" + ("" if before else line)
    )
    run.slurm.end(run.job, "COMPLETED")
    assert run.present(checkpoints=run.rule).action is Action.NOTHING


def test_what_an_earlier_mnrun_settled_by_the_job_alone_is_done_too(run: Run) -> None:
    killed(run, "TIMEOUT")
    conclude(run.stage(checkpoints=run.rule), 1, 100)
    record = run.record()
    wanted, record.output = record.output, None
    run.stage().ledger.save(record)
    again = run.present(checkpoints=run.rule)
    assert (again.action, again.output) == (Action.NOTHING, wanted)


def test_on_a_file_system_that_is_not_mounted_nothing_is_known(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts, scratch = tmp_path / "mounts", tmp_path / "scratch"
    rule = run.rule._replace(path=scratch / "sft" / "checkpoints")
    root = "/dev/root / ext4 rw 0 0\n"
    mounts.write_text(f"{root}server:/scratch {scratch} nfs4 rw 0 0\n")
    monkeypatch.setattr(mounts_of_host, "MOUNTS", mounts)
    run.present(checkpoints=rule)
    write_step(rule.path, 4)
    run.slurm.end(run.job, "COMPLETED")
    assert run.present(checkpoints=rule).action is Action.NOTHING
    scratch.rename(tmp_path / "unmounted")
    scratch.mkdir()
    mounts.write_text(root)
    for look in (run.present, lambda **changes: plan(run.stage(**changes))):
        with pytest.raises(Unknown, match="which is not mounted on this host"):
            look(checkpoints=rule)
    assert (len(run.slurm.jobs), list(scratch.iterdir())) == (1, [])
    scratch.rmdir()
    (tmp_path / "unmounted").rename(scratch)
    assert run.present(checkpoints=rule).action is Action.NOTHING
