"""That Slurm does not know a job proves something only to the one who could see it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Refused, Unknown
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import INTENT, Phase
from ansible_collections.mnrun.train.plugins.module_utils.record.witness import FRESH
from ansible_collections.mnrun.train.plugins.module_utils.stage.absent import absent
from ansible_collections.mnrun.train.plugins.module_utils.stage.decide import Action
from ansible_collections.mnrun.train.plugins.module_utils.stage.present import plan
from ansible_collections.mnrun.train.plugins.module_utils.stage.scope import Only
from ansible_collections.mnrun.train.plugins.module_utils.stage.stop import StopRule

from tests.helpers.crashes import Killed, claim, cut_off, die, folder_of
from tests.helpers.stage_run import SPEC, Run

OTHER = {"lr": 0.2, "data": {"path": "train.parquet"}}


@pytest.fixture
def colleague(monkeypatch: pytest.MonkeyPatch, run: Run) -> Run:
    """The run of a user, with a live job, as a colleague sees it with PrivateData=jobs."""
    run.present()
    run.slurm.run(run.job)
    run.slurm.hides_jobs = True
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    return run


def nothing_done(run: Run, spec: object = SPEC) -> str:
    before = run.slurm.count("sbatch")
    with pytest.raises(Unknown) as raised:
        run.present(spec=spec)
    with pytest.raises(Unknown):
        plan(run.stage(spec=spec))
    with pytest.raises(Unknown):
        absent(run.stage(spec=spec), Only(), StopRule(), check=False)
    assert (run.slurm.count("sbatch"), run.slurm.count("scancel")) == (before, 0)
    assert run.attempt().phase is not Phase.GONE
    return raised.value.message


@pytest.mark.parametrize("spec", [SPEC, OTHER])
def test_a_job_that_a_colleague_submitted_is_unknown(colleague: Run, spec: object) -> None:
    words = nothing_done(colleague, spec)
    assert "Slurm may hide it from" in words
    assert "let the user" in words


def test_an_intent_of_a_colleague_is_unknown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_off(run, monkeypatch)
    run.clock.sleep(1000)
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    assert "Slurm may hide it" in nothing_done(run)
    assert run.attempt().state == INTENT


def test_what_a_colleague_can_see_counts(colleague: Run) -> None:
    colleague.slurm.hides_jobs = False
    assert colleague.present().action is Action.ATTACH
    colleague.slurm.end(colleague.job, "FAILED", "1:0")
    assert colleague.present().action is Action.RESUBMIT


def test_the_end_that_a_job_recorded_counts_for_everybody(colleague: Run) -> None:
    token = colleague.attempt().token
    claim(colleague, "12")
    said = {"job_id": "12", "token": token, "start": 1, "end": 2, "exit_code": 1}
    (folder_of(colleague) / "end-1.json").write_text(json.dumps(said))
    assert colleague.present().action is Action.RESUBMIT


def test_a_record_without_a_submitter_goes_by_its_script_s_owner(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.present()
    record = run.record()
    record.attempts[0].submitted_by, record.attempts[0].submitted_on = None, ""
    run.stage().ledger.save(record)
    run.slurm.hides_jobs = True
    mine = os.geteuid()
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: mine + 1)
        assert "Slurm may hide it" in nothing_done(run)


@pytest.mark.parametrize("known", ["by the intent", "by the job's start"])
def test_a_job_of_another_slurm_is_unknown_even_if_its_id_is_in_use_here(
    run: Run, known: str
) -> None:
    run.present()
    run.slurm.run(run.job)
    if known == "by the job's start":
        record = run.record()
        record.attempts[0].submitted_on = ""
        run.stage().ledger.save(record)
        said = {"job_id": "12", "token": run.attempt().token, "start": 1, "cluster": "osk"}
        (folder_of(run) / "start-1.json").write_text(json.dumps(said))
    run.slurm.name = "new"
    run.job.comment = ""
    run.slurm.end(run.job, "CANCELLED by 1")
    words = nothing_done(run)
    assert "submitted to the Slurm cluster osk, and this host uses new" in words
    assert "run this on a host of osk" in words


def test_a_slurm_that_does_not_tell_its_name_proves_nothing(run: Run) -> None:
    run.present()
    run.slurm.jobs.clear()
    run.slurm.scontrol_denied = True
    assert "does not say whether that is this one" in nothing_done(run)


def test_where_the_name_was_never_known_all_is_as_before(run: Run) -> None:
    run.slurm.scontrol_denied = True
    run.present()
    run.slurm.jobs.clear()
    assert run.present().action is Action.RESUBMIT


def test_a_job_that_writes_to_its_log_is_not_gone(run: Run) -> None:
    run.present()
    run.slurm.jobs.clear()
    run.log("step:1\n")
    os.utime(run.attempt().stdout, (run.clock.now() - 100,) * 2)
    claim(run, "12")
    assert "was written" in nothing_done(run)
    run.clock.sleep(FRESH)
    assert run.present().action is Action.RESUBMIT


# a live job without a record


def test_a_job_whose_record_was_removed_is_attached_to(run: Run) -> None:
    run.present()
    run.slurm.run(run.job)
    token = run.attempt().token
    shutil.rmtree(run.folder / ".mnrun")
    assert plan(run.stage()).action is Action.ADOPT
    assert not (run.folder / ".mnrun").exists()
    assert run.present().action is Action.ADOPT
    assert (run.attempt().job_id, run.attempt().token) == ("12", token)
    assert run.attempt().stdout.endswith("-12.out")
    assert run.present().action is Action.ATTACH
    assert run.slurm.count("sbatch") == 1


def test_one_with_other_options_is_refused(run: Run) -> None:
    run.present(spec=OTHER)
    shutil.rmtree(run.folder / ".mnrun")
    with pytest.raises(Refused, match=r"12 \(training_sft-.*-1, PENDING\).*scancel 12"):
        run.present()
    assert run.slurm.count("sbatch") == 1


def test_one_whose_comment_the_site_overwrote_is_refused(run: Run) -> None:
    run.present()
    shutil.rmtree(run.folder / ".mnrun")
    run.job.comment = "project 7"
    with pytest.raises(Refused, match="scancel 12"):
        run.present()
    run.job.work_dir = "/another/run"
    assert run.present().action is Action.SUBMIT


def test_one_that_was_taken_for_gone_is_attached_to_again(run: Run) -> None:
    run.present()
    run.slurm.run(run.job)
    hidden, run.slurm.jobs = run.slurm.jobs, []
    record = run.record()
    record.attempts[0].phase, record.attempts[0].state = Phase.GONE, "GONE"
    run.stage().ledger.save(record)
    run.slurm.jobs = hidden
    assert run.present().action is Action.ADOPT
    assert [one.number for one in run.record().attempts] == [1]


def test_a_run_by_another_path_is_the_same_run(run: Run, tmp_path: Path) -> None:
    run.present()
    shutil.rmtree(run.folder / ".mnrun")
    link = tmp_path / "link"
    link.symlink_to(run.folder)
    run.job.comment = run.job.comment.replace(str(run.folder), str(link))
    assert run.present().action is Action.ADOPT


def test_jobs_of_other_runs_and_stages_do_not_matter(run: Run) -> None:
    run.present()
    shutil.rmtree(run.folder / ".mnrun")
    run.job.comment = run.job.comment.replace("stage=sft", "stage=ray")
    assert run.present().action is Action.SUBMIT


def test_after_a_crash_in_between_it_is_still_one_job(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.present()
    shutil.rmtree(run.folder / ".mnrun")
    with monkeypatch.context() as patch:
        patch.setattr(type(run.stage().backend), "find", die)
        with pytest.raises(Killed):
            run.present()
    assert run.present().action is Action.ADOPT
    assert len(run.slurm.jobs) == 1
