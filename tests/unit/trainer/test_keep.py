"""Which checkpoints stay: the newest, the best, every Nth; and what is never deleted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.trainer import keep
from ansible_collections.mnrun.train.plugins.module_utils.trainer.keep import Keeper, Rule, surplus
from ansible_collections.mnrun.train.plugins.module_utils.trainer.words import TRACKER

BEST = Rule(newest=1, best=True, metric="val_loss")
STEPS = [10, 20, 30, 40, 50]


@pytest.mark.parametrize(
    ("rule", "judged", "going"),
    [
        (Rule(newest=2), {}, [10, 20, 30]),
        (Rule(newest=9), {}, []),
        (Rule(newest=1, every=20), {}, [10, 30]),
        (BEST, {10: 3.0, 20: 1.0, 30: 2.0, 40: 2.0}, [10, 30, 40]),
        (BEST, {10: 3.0, 20: 1.0, 30: 1.0, 40: 2.0}, [10, 20, 40]),  # the newer one of two
        (BEST._replace(metric="val_reward"), {10: 3.0, 20: 1.0, 30: 2.0, 40: 2.0}, [20, 30, 40]),
        (BEST, {10: 3.0, 20: None, 40: 2.0}, [10, 20]),  # 30 is not judged, 20 not validated
        (BEST, {10: None, 20: None, 30: None, 40: None}, STEPS[:4]),
        (BEST, {}, []),
    ],
)
def test_what_goes(rule: Rule, judged: keep.Judged, going: list[int]) -> None:
    assert surplus(rule, STEPS, 50, judged) == going


def test_what_is_being_written_stays_and_counts_for_nothing() -> None:
    assert surplus(Rule(newest=1), STEPS, 40, {}) == [10, 20, 30]
    assert surplus(Rule(newest=1), STEPS, -1, {}) == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoints"
    for step in STEPS:
        (path / f"global_step_{step}" / "actor").mkdir(parents=True)
        (path / f"global_step_{step}" / "actor" / "model.pt").write_text("weights")
    (path / keep.MARKER).write_text('{"fingerprint": "a"}')
    (path / TRACKER).write_text("50")
    return path


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


SFT = (
    "\rEpoch 1/1:  1%|| 9/160 [00:03<07:59]step:10 - train/loss:6.4 - train/lr(1e-3):0.1\n"
    "step:10 - val/loss:0.7\n"
    "step:20 - train/loss:6.4\nstep:20 - val/loss:0.25\n"
    "step:30 - train/loss:0.1\nstep:30 - val/loss:0.5\n"
    "step:40 - train/loss:0.1\nstep:40 - val/loss:0.6\n"
)


def test_the_best_one_is_known_from_the_log(folder: Path) -> None:
    log = folder.parent / "log"
    log.write_text(SFT)
    keeper = Keeper(folder, BEST, str(log))
    assert keeper.look() == [10, 30]  # step 40's validation may come yet
    with log.open("a") as stream:
        stream.write("step:50 - train/loss:0.1")  # half a line says nothing
    assert keeper.look() == []
    with log.open("a") as stream:
        stream.write("\nstep:50 - val/loss:0.1\n")
    assert keeper.look() == [40]
    assert keeper.look(over=True) == [20]  # the newest one is the best one
    assert left(folder) == ["global_step_50", TRACKER]


def test_of_several_data_sets_the_mean_counts(folder: Path) -> None:
    log = folder.parent / "log"
    ray = "\x1b[36m(TaskRunner pid=2, ip=10.0.0.2)\x1b[0m "
    name = "reward/mean@1"
    lines = [
        f"{ray}step:{step} - critic/score/mean:0.5 - val-core/a/{name}:{one} - "
        f"val-core/b/{name}:np.float64({two})\n"
        for step, one, two in (
            (10, 0.9, 0.1),
            (20, 0.6, 0.6),
            (30, 0.2, 0.2),
            (40, 0, 0),
            (41, 1, 1),
        )
    ]
    log.write_text("".join(lines))
    rule = Rule(newest=1, best=True, metric="val_reward")
    assert Keeper(folder, rule, str(log)).look() == [10, 30, 40]


def test_the_next_attempt_knows_what_the_last_one_found(folder: Path) -> None:
    log = folder.parent / "log"
    log.write_text(SFT)
    Keeper(folder, BEST._replace(newest=9), str(log)).look()
    log.write_text("step:41 - train/loss:0.1\nstep:50 - val/loss:0.6\nstep:51 - train/loss:0.1\n")
    # Nobody knows what step 40 came to: it stays.
    assert Keeper(folder, BEST, str(log)).look() == [10, 30]
    assert left(folder) == ["global_step_20", "global_step_40", "global_step_50", TRACKER]


@pytest.mark.parametrize("text", ["", "[1]", '{"x": 1}', '{"10": "low"}', "{"])
def test_a_damaged_note_says_nothing(folder: Path, text: str) -> None:
    (folder / keep.JUDGED).write_text(text)
    log = folder.parent / "log"
    log.write_text("")
    assert Keeper(folder, BEST, str(log)).look() == []


def test_nothing_is_deleted_in_a_folder_that_became_another_specs(folder: Path) -> None:
    keeper = Keeper(folder, Rule(newest=1), "/dev/null")
    (folder / keep.MARKER).write_text('{"fingerprint": "b"}')
    assert keeper.look() == []
    assert len(left(folder)) == 6


def test_what_was_cut_off_while_deleting_goes_too(folder: Path) -> None:
    (folder / "global_step_10").rename(folder / f"{keep.GOING}global_step_10")
    Keeper(folder, Rule(newest=9), "/dev/null").look()
    assert not list(folder.glob(f"{keep.GOING}*"))


def start(folder: Path, log: Path, rule: Rule) -> subprocess.Popen[bytes]:
    plan = folder.parent / "keep.json"
    plan.write_text(json.dumps({"path": str(folder), **rule._asdict()}))
    with log.open("ab") as stream:
        return subprocess.Popen([sys.executable, keep.__file__, str(plan)], stdout=stream)


def test_it_runs_beside_the_training_and_looks_once_more_at_its_end(folder: Path) -> None:
    log = folder.parent / "log"
    log.write_text(SFT + "step:50 - val/loss:0.9\n")
    process = start(folder, log, BEST)
    deadline = time.monotonic() + 20
    while (folder / "global_step_30").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    (folder / "global_step_60").mkdir()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert left(folder) == ["global_step_20", "global_step_50", "global_step_60", TRACKER]
    text = log.read_text()
    assert "mnrun: checkpoints that stay: 20 (best), 50; deleted: 10, 30, 40\n" in text
    assert text.endswith("\nmnrun: checkpoints that stay: 20 (best), 50, 60\n")


def test_a_folder_that_cannot_be_read_is_said_and_harms_nothing(folder: Path) -> None:
    log = folder.parent / "log"
    log.write_text("")
    process = start(folder.parent / "nowhere", log, Rule(newest=1))
    deadline = time.monotonic() + 20
    while "could not be deleted, so more stay" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
