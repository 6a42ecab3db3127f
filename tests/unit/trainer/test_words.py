"""Trainers other than the default one: their folders, files and lines, by a profile alone."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import CheckpointRule
from ansible_collections.mnrun.train.plugins.module_utils.trainer.checkpoint import (
    count,
    steps,
    survey,
    tracked,
    weights_identity,
)
from ansible_collections.mnrun.train.plugins.module_utils.trainer.keep import Keeper, Rule
from ansible_collections.mnrun.train.plugins.module_utils.trainer.progress import (
    Progress,
    last_step_option,
    parse,
)
from ansible_collections.mnrun.train.plugins.module_utils.trainer.resume_point import (
    make_resumable,
    newest_whole,
    resume_folder,
)
from ansible_collections.mnrun.train.plugins.module_utils.trainer.words import words

OWN: dict[str, Any] = {
    "checkpoint": {
        "folder": "step-{step:05}",
        "whole": "files",
        "files": ["model.pt", "state-*.pt", "done.json"],
        "weights": ["model.pt"],
        "resume": "newest",
    },
    "log": {
        "step": r"\[train\] step {step} of {total} ",
        "total": [r"training for {total} steps$"],
        "metrics": {
            "loss": {"name": "loss", "lower": True},
            "tokens_per_second": {"name": "tok/s"},
        },
    },
    "last_step": "max_steps",
}


def write(folder: Path, step: int) -> Path:
    path = folder / f"step-{step:05}"
    path.mkdir(parents=True)
    for name in ("model.pt", "state-0.pt", "state-1.pt"):
        with zipfile.ZipFile(path / name, "w") as file:
            file.writestr("x", f"{step}")
    (path / "done.json").write_text("{}")
    return path


def rule(folder: Path, **checkpoint: Any) -> CheckpointRule:
    trainer = {**OWN, "checkpoint": {**OWN["checkpoint"], **checkpoint}}
    return CheckpointRule(folder, [], hf=False, trainer=trainer)


def test_a_log_is_read_by_the_profiles_patterns() -> None:
    text = (
        "training for 8 steps\n[train] step 1 of 8 loss=2.5 tok/s=100\n"
        "a sample: [train] step 7 of 8 loss=0.1\n[train] step 2 of 8 loss=1.5 tok/s=120\n"
        "[train] step 9 of 8 loss=0.0\nstep:3 - train/loss:9.0\n"
    )
    metrics = {
        "loss": 1.5, "first_loss": 2.5,
        "tokens_per_second": 120.0, "first_tokens_per_second": 100.0,
    }  # fmt: skip
    assert parse(text, OWN) == Progress(2, 8, metrics, total_stated=True, highest=8)
    assert last_step_option({"max_steps": "8"}, OWN) == 8


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda step: (step / "done.json").unlink(), "contains no done.json"),
        (lambda step: (step / "done.json").write_text("{"), "done.json is truncated or damaged"),
        (lambda step: (step / "state-1.pt").write_bytes(b"PK"), "state-1.pt is truncated"),
        (lambda step: (step / "model.pt").unlink(), "contains no model.pt"),
        (lambda step: (step / "other.pt").write_bytes(b"PK"), "other.pt is truncated"),
    ],
)
def test_a_damaged_step_is_not_one(tmp_path: Path, damage: Any, fault: str) -> None:
    write(tmp_path, 2)
    damage(write(tmp_path, 4))
    found = survey(rule(tmp_path), hf=False)
    assert found.step == 2
    assert fault in found.faults[0]


def test_a_newer_step_that_is_damaged_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, 2)
    (write(tmp_path, 4) / "done.json").unlink()
    assert "step 4 was skipped (kept as passed_over.step-N)" in make_resumable(rule(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "passed_over.step-00004",
        "step-00002",
    ]
    assert make_resumable(rule(tmp_path)) == ""


def test_the_checkpoint_to_resume_from_is_named_where_an_option_takes_it(tmp_path: Path) -> None:
    by_option = rule(tmp_path, resume="option")
    assert resume_folder(by_option) == ""
    step = write(tmp_path, 2)
    assert resume_folder(by_option) == str(step)
    assert resume_folder(rule(tmp_path)) == ""


def test_a_tracker_may_name_the_folder(tmp_path: Path) -> None:
    write(tmp_path, 2)
    own = rule(tmp_path, tracker="latest", tracker_text="step-{step}", resume="tracker")
    (tmp_path / "latest").write_text("step-4\n")
    assert tracked(own) == 4
    make_resumable(own)
    assert (tmp_path / "latest").read_text() == "step-2"
    (tmp_path / "latest").write_text("2")
    assert tracked(own) is None


def beside(folder: Path, *actor: int, critic: tuple[int, ...] = ()) -> CheckpointRule:
    """Steps of two parts in folders of their own, each with a tracker."""
    for part, written in (("_actor", actor), ("_critic", critic)):
        for step in written:
            write(folder / part, step)
            (folder / part / "latest").write_text(f"step-{step}")
    own = rule(folder, tracker="latest", tracker_text="step-{step}", resume="tracker")
    own.trainer["checkpoint"]["parts_hold_steps"] = True
    return own._replace(parts=["_actor", "_critic"])


def test_of_parts_beside_each_other_a_step_counts_that_all_have(tmp_path: Path) -> None:
    own = beside(tmp_path, 2, 4, critic=(2,))
    assert sorted(steps(own)) == [2, 4]
    assert count(own) == 1
    found = survey(own, hf=False)
    assert (found.step, found.newest and found.newest.model) == (2, tmp_path / "_actor/step-00002")
    assert "step 4 was skipped" in make_resumable(own)
    assert {one.read_text() for one in tmp_path.glob("*/latest")} == {"step-2"}
    assert (tmp_path / "_actor/passed_over.step-00004").is_dir()
    assert make_resumable(own) == ""


def test_without_a_step_of_all_parts_none_of_them_stays(tmp_path: Path) -> None:
    # A trainer that finds a part's folder without a step in it may not start over, but fail.
    own = beside(tmp_path, 2)
    assert "step 2 was skipped" in make_resumable(own)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["passed_over._actor"]
    assert make_resumable(own) == ""


def test_a_trainer_that_does_not_resume_starts_over(tmp_path: Path) -> None:
    write(tmp_path, 2)
    never = rule(tmp_path, resume="none")
    assert newest_whole(never) == 0  # its attempts come no further, however often they are made
    assert "step 2 was skipped" in make_resumable(never)
    assert survey(never, hf=False).step == 0


def test_names_are_taken_exactly() -> None:
    form = words(OWN)
    names = ["step-00012", "step-12", "step-000012", "step-1234567", "passed_over.step-00001"]
    assert [form.step_of(name) for name in names] == [12, None, None, 1234567, None]


def test_surplus_checkpoints_of_any_trainer_are_deleted(tmp_path: Path) -> None:
    (tmp_path / ".mnrun.json").write_text(json.dumps({"fingerprint": "a" * 64}))
    for step in (2, 4, 6, 8):
        write(tmp_path, step)
    keeper = Keeper(tmp_path, Rule(newest=2), "/dev/null", form=words(OWN))
    # The newest may still be being written: there is no tracker that says otherwise.
    assert keeper.look() == [2]
    assert keeper.look(over=True) == [4]


def test_weights_are_identified_by_the_profiles_files(tmp_path: Path) -> None:
    two, four = write(tmp_path, 2), write(tmp_path, 4)
    assert weights_identity(two, OWN) != weights_identity(four, OWN)
