"""A stage whose result is a folder with a manifest: done only while the manifest fits."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Refused
from ansible_collections.mnrun.train.plugins.module_utils.base.fingerprint import fingerprint
from ansible_collections.mnrun.train.plugins.module_utils.model import manifest
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import ManifestRule
from ansible_collections.mnrun.train.plugins.module_utils.stage.decide import Action
from ansible_collections.mnrun.train.plugins.module_utils.stage.describe import line
from ansible_collections.mnrun.train.plugins.module_utils.trainer.checkpoint import weights_identity
from ansible_collections.mnrun.train.plugins.module_utils.trainer.progress import parse

from tests.helpers.manifests import ABOUT
from tests.helpers.stage_run import SPEC, Run

OTHER = {"lr": 0.2}


def rule(run: Run) -> ManifestRule:
    return ManifestRule(run.folder / "converted")


def convert(folder: Path, key: str = "") -> None:
    """What a job leaves."""
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(bytes(64))
    manifest.write(folder, {**ABOUT, "fingerprint": key or fingerprint(SPEC)})


def finished(run: Run) -> None:
    run.present(manifest=rule(run))
    convert(run.folder / "converted")
    run.slurm.end(run.job, "COMPLETED")


def test_done_and_whole_does_nothing(run: Run) -> None:
    finished(run)
    outcome = run.present(manifest=rule(run))
    folder = str(run.folder / "converted")
    assert outcome.action is Action.NOTHING
    assert outcome.output == {
        "step": 160,
        "path": folder,
        "model": folder,
        "metrics": {"loss": 0.1},
        "content": weights_identity(run.folder / "converted"),
    }


def test_a_job_that_ended_well_without_a_manifest_is_not_done(run: Run) -> None:
    finished(run)
    (run.folder / "converted" / manifest.NAME).unlink()
    outcome = run.present(manifest=rule(run))
    assert outcome.action is Action.RESUBMIT
    assert "mnrun_manifest.json is missing" in outcome.why
    assert "starts from the beginning" in outcome.why


def test_a_damaged_file_is_named_and_the_work_is_done_again(run: Run) -> None:
    finished(run)
    run.present(manifest=rule(run))
    weights = run.folder / "converted" / "model.safetensors"
    weights.write_bytes(bytes(63) + b"x")
    outcome = run.present(manifest=rule(run))
    assert outcome.action is Action.RESUBMIT
    assert f"{weights} is damaged" in outcome.why
    assert "starts from the beginning" in outcome.why


def test_the_result_of_another_spec_is_none_of_this_one(run: Run) -> None:
    run.present(manifest=rule(run))
    convert(run.folder / "converted", fingerprint(OTHER))
    run.slurm.end(run.job, "COMPLETED")
    outcome = run.present(manifest=rule(run))
    assert outcome.action is Action.RESUBMIT
    assert "contains no result of these options" in outcome.why


def test_a_result_that_was_set_aside_still_counts(run: Run) -> None:
    finished(run)
    run.present(manifest=rule(run))
    aside = run.folder / f"converted.{fingerprint(SPEC)[:12]}"
    (run.folder / "converted").rename(aside)
    convert(run.folder / "converted", fingerprint(OTHER))
    outcome = run.present(manifest=rule(run))
    assert outcome.action is Action.NOTHING
    assert outcome.output is not None
    assert outcome.output["path"] == str(aside)


def test_attempts_without_a_result_are_bounded(run: Run) -> None:
    for _ in range(3):
        run.present(manifest=rule(run))
        run.slurm.end(run.job, "FAILED", "1:0")
    with pytest.raises(Refused, match="3 attempts in a row brought no new result"):
        run.present(manifest=rule(run))


def test_what_such_a_job_does_is_shown() -> None:
    text = "mnrun: [1/5] merge the shards\nnoise\nmnrun: [2/5] compare\nmnrun: [3/5] half a li"
    progress = parse(text)
    assert (progress.step, progress.total, progress.doing) == (2, 5, "compare")
    entry = {"job": {"id": "7", "state": "RUNNING"}, "progress": progress.as_dict()}
    assert line(entry) == "job 7 RUNNING · compare (2/5)"


def test_scores_are_read_from_its_log() -> None:
    text = "mnrun: [4/5] score\nmnrun: first_greedy_score=0.0\nmnrun: greedy_score=0.96\n"
    assert parse(text).metrics == {"first_greedy_score": 0.0, "greedy_score": 0.96}
