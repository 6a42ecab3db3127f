"""Which checkpoints stay: the newest, the best, every Nth; and what is never deleted."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.mnrun.train.plugins.module_utils.trainer import keep
from ansible_collections.mnrun.train.plugins.module_utils.trainer.keep import Keeper, Rule, surplus
from ansible_collections.mnrun.train.plugins.module_utils.trainer.whole import step_faults
from ansible_collections.mnrun.train.plugins.module_utils.trainer.words import (
    TRACKER,
    VERL,
    words,
)
from ansible_collections.mnrun.train.plugins.plugin_utils.programs import programs

from tests.helpers.checkpoints import write_hf, write_step

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
        (BEST._replace(lower=False), {10: 3.0, 20: 1.0, 30: 2.0, 40: 2.0}, [20, 30, 40]),
        (BEST, {10: 3.0, 20: None, 40: 2.0}, [10, 20]),  # 30 is not judged, 20 not validated
        (BEST, {10: None, 20: None, 30: None, 40: None}, STEPS[:3]),  # two stay in any case
        (Rule(newest=1), {}, STEPS[:3]),
        (BEST, {}, []),
    ],
)
def test_what_goes(rule: Rule, judged: keep.Judged, going: list[int]) -> None:
    assert surplus(rule, STEPS, 50, judged) == going


def test_what_is_being_written_stays_and_counts_for_nothing() -> None:
    assert surplus(Rule(newest=1), STEPS, 40, {}) == [10, 20]
    assert surplus(Rule(newest=1), STEPS, -1, {}) == []


@pytest.mark.parametrize(
    ("rule", "steps", "whole", "going"),
    [
        (Rule(newest=1), [20, 40], [20], []),
        (Rule(newest=2), [20, 40, 60], [20], []),
        (Rule(newest=2), [20, 40, 60], [], []),
        (Rule(newest=2), [20, 40, 60, 80], [20, 60, 80], [20]),  # 40 is none to be sure
        (Rule(newest=2), [20, 40, 60, 80], [20, 40, 60], [20]),  # 80 may be written again
        (Rule(newest=3), [20, 40, 60, 80], [20, 40, 80], []),
        (BEST, [20, 40, 60], [20, 60], []),
        (BEST, [20, 40, 60, 80], [20, 60, 80], [20]),
    ],
)
def test_only_what_is_complete_counts(
    rule: Rule, steps: list[int], whole: list[int], going: list[int]
) -> None:
    judged: keep.Judged = {**dict.fromkeys(steps, 1.0), 40: 0.1}
    assert surplus(rule, steps, 1000, judged, whole) == going


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoints"
    for step in STEPS:
        write_step(path, step)
    (path / keep.MARKER).write_text('{"fingerprint": "a"}')
    return path


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


# The programs that the roles give to a job which keeps.
ROLES = Path(__file__).parents[3] / "roles"
CARRIED = yaml.safe_load((ROLES / "sft/vars/main.yml").read_text())["sft_keep_programs"]
RUN = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
sys.argv = sys.argv[1:]
runpy.run_path(f"{sys.argv[0]}/keep.py", run_name="__main__")
"""
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
    assert keeper.look(over=True) == []  # the newest one is the best one, and two stay
    assert left(folder) == ["global_step_20", "global_step_50", TRACKER]


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


def test_ppo_carries_the_same_programs() -> None:
    files = yaml.safe_load((ROLES / "ppo/vars/main.yml").read_text())["ppo_files"]
    asked = re.findall(r"lookup\('mnrun\.train\.programs', ([^)]*)\)", files)
    (names,) = [each for each in asked if "keep.py" in each]
    assert sorted(re.findall(r"'(\w+\.py)'", names)) == sorted(CARRIED)


def start(folder: Path, log: Path, rule: Rule) -> subprocess.Popen[bytes]:
    """As a job does: with copies of the programs, and nothing else of the collection."""
    job = folder.parent / "job"
    job.mkdir()
    for name in sorted(CARRIED):
        (job / name).write_text(programs()[name].read_text())
    plan = job / "keep.json"
    plan.write_text(json.dumps({"path": str(folder), **rule._asdict()}))
    with log.open("ab") as stream:
        return subprocess.Popen([sys.executable, "-I", "-c", RUN, job, plan], stdout=stream)


def test_it_runs_beside_the_training_and_looks_once_more_at_its_end(folder: Path) -> None:
    log = folder.parent / "log"
    log.write_text(SFT + "step:50 - train/loss:1.0\nstep:50 - val/loss:0.9\n")
    process = start(folder, log, BEST)
    deadline = time.monotonic() + 20
    while (folder / "global_step_30").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    (folder / "global_step_60").mkdir()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert left(folder) == ["global_step_20", "global_step_50", "global_step_60", TRACKER]
    text = log.read_text()
    assert "mnrun: checkpoints kept: 20 (best), 50; deleted: 10, 30, 40\n" in text
    assert text.endswith("\nmnrun: checkpoints kept: 20 (best), 50, 60\n")


def test_a_folder_that_cannot_be_read_is_said_and_harms_nothing(folder: Path) -> None:
    log = folder.parent / "log"
    log.write_text("")
    process = start(folder.parent / "nowhere", log, Rule(newest=1))
    deadline = time.monotonic() + 20
    while "could not be deleted, so more are kept" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def cut_off(step: Path) -> None:
    bad = step / "optim_world_size_2_rank_1.pt"
    bad.write_bytes(bad.read_bytes()[:-30])


@pytest.mark.parametrize("newest", [1, 2])
@pytest.mark.parametrize("tracker", ["40", "60", "1000"])
def test_the_trackers_claim_alone_deletes_nothing(
    tmp_path: Path, newest: int, tracker: str
) -> None:
    for step in (20, 40, 60):
        write_step(tmp_path, step)
    for step in (40, 60):
        cut_off(tmp_path / f"global_step_{step}")
    (tmp_path / keep.MARKER).write_text("{}")
    (tmp_path / TRACKER).write_text(tracker)
    keeper = Keeper(tmp_path, Rule(newest=newest), "/dev/null")
    assert (keeper.look(), keeper.look(over=True)) == ([], [])


def test_without_its_hugging_face_format_a_step_does_not_count(folder: Path) -> None:
    for step in (10, 20, 30):
        write_hf(folder / f"global_step_{step}" / "huggingface")
    assert Keeper(folder, Rule(newest=2), "/dev/null", hf=True).look() == [10]


def test_each_part_of_a_step_counts(tmp_path: Path) -> None:
    parts = ("actor", "critic")
    for step in (1, 2, 3, 4):
        write_step(tmp_path, step, parts)
    cut_off(tmp_path / "global_step_4" / "critic")
    (tmp_path / keep.MARKER).write_text("{}")
    assert Keeper(tmp_path, Rule(newest=2), "/dev/null", parts).look() == [1]


def test_parts_beside_each_other_are_deleted_together(tmp_path: Path) -> None:
    parts = ("actor", "critic")
    form = words({**VERL, "checkpoint": {**VERL["checkpoint"], "parts_hold_steps": True}})
    (tmp_path / keep.MARKER).write_text('{"fingerprint": "a"}')
    keeper = Keeper(tmp_path, Rule(newest=2), "/dev/null", parts, form=form)
    assert keeper.look() == []
    for part in parts:
        for step in (1, 2, 3, 4):
            write_step(tmp_path / part, step)
    write_step(tmp_path / "actor", 5)  # the critic's is being written
    assert keeper.look() == [1, 2]
    assert {path.name for path in (tmp_path / "critic").glob("global*")} == {
        "global_step_3", "global_step_4",
    }  # fmt: skip
    assert not list(tmp_path.glob("*/.mnrun-deleting*"))


def test_what_cannot_be_seen_is_not_deleted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(step: Path, *rest: Any) -> list[str]:
        if step.name in ("global_step_20", "global_step_50"):
            raise OSError(errno.EIO, "Input/output error", str(step))
        return step_faults(step, *rest)

    monkeypatch.setattr(keep, "step_faults", failing)
    keeper = Keeper(folder, Rule(newest=2), "/dev/null")
    assert keeper.look() == [10]
    assert "Input/output error" in keeper.troubles[0]


# text that is not the trainer's

SAMPLES = (
    "[response] First step:99999 - add them\n",
    "step:99999 - add them\n",
    "step:99999 - train/loss:0.0\n",
    '(prompt) "step:40 - val/loss:0.0"\n',
    "[prompt] x\nstep:40 - val/loss:0.0\n[response] y\n[score] 1.0\n",
    "a\rstep:40 - val/loss:0.0\n",
    "a\u2028step:40 - val/loss:0.0\n",
    "step:40 - val/loss:1e999\n",
    "step:40 - val/loss:-inf\n",
    "step:\u0664\u0660 - val/loss:0.0\n",
    "step:40 - val/loss:0.0 is what I found\n",
    "(TaskRunner pid=1) (TaskRunner pid=2) step:40 - val/loss:0.0\n",
    "step:40 - val/loss:0.0\n" * 3,  # first of all, at the trainer's own place
)


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("at", [0, 1, 2, 3, 4, 5])
def test_sample_text_decides_nothing(folder: Path, sample: str, at: int) -> None:
    log = folder.parent / "log"
    lines = ["total number of steps 160\n"]
    for step, value in ((10, 0.7), (20, 0.25), (30, 0.5), (40, 0.6), (41, 0)):
        lines += [f"step:{step} - train/loss:{step}.5\nstep:{step} - val/loss:{value}\n"]
    log.write_text("".join([*lines[: at + 1], sample, *lines[at + 1 :]]))
    # What two lines say differently, before the next step comes, is not known: it stays.
    other_values = ("step:40 - val/loss:0.0\n", "step:40 - val/loss:1e", "step:40 - val/loss:-i")
    is_contested = at == 4 and sample.startswith(other_values)
    assert Keeper(folder, BEST, str(log)).look() == ([10, 30] if is_contested else [10, 30, 40])


@pytest.mark.parametrize("forged", ["0.0", "9.0", "nan"])
@pytest.mark.parametrize("first", [True, False])
def test_where_two_lines_differ_the_checkpoint_stays(
    folder: Path, forged: str, first: bool
) -> None:
    own = "step:20 - val/loss:0.25\n"
    both = [f"step:20 - val/loss:{forged}\n", own]
    log = folder.parent / "log"
    log.write_text(SFT.replace(own, "".join(both if first else reversed(both))))
    assert Keeper(folder, BEST, str(log)).look() == [10]
    assert left(folder)[:2] == ["global_step_20", "global_step_30"]


def test_the_first_value_of_a_step_counts(folder: Path) -> None:
    log = folder.parent / "log"
    log.write_text(f"{SFT}step:41 - train/loss:1.0\nstep:40 - val/loss:0.0\n")
    Keeper(folder, BEST, str(log)).look()
    log.write_text("step:20 - val/loss:9.0\nstep:21 - train/loss:1.0\n")
    assert Keeper(folder, BEST, str(log)).look() == []
    assert left(folder) == ["global_step_20", "global_step_50", TRACKER]


@pytest.mark.parametrize(
    "noted", ['{"40": NaN}', '{"40": -Infinity}', '{"40": 1e-999, "x": 1}', '{"40": true}']
)
def test_only_finite_numbers_are_believed_from_the_note(folder: Path, noted: str) -> None:
    (folder / keep.JUDGED).write_text(noted.replace("1e-999", "-1e999"))
    log = folder.parent / "log"
    log.write_text(f"{SFT}step:41 - train/loss:1.0\n")
    assert Keeper(folder, BEST, str(log)).look() == [10, 30, 40]


# stray things

STRAY = (
    "global_step_0010",
    "global_step_060",
    "global_step_\u0661\u0660",
    "global_step_",
    "global_step_9 ",
    "global_step_5x",
    ".mnrun-deleting.",
    ".mnrun-deleting.mine",
    ".mnrun-deleting.global_step_10",
    ".mnrun-deleting.global_step_20-2",
    "passed_over.global_step_10",
    "latest",
    "model_world_size_9999999_rank_0.pt",
)


def litter(folder: Path, choose: random.Random) -> None:
    """Something that nobody expects, of any kind, unless there is something of that name."""
    name = choose.choice((*STRAY, f"global_step_{choose.choice((15, 25, 60, 70))}"))
    path = folder / name
    if os.path.lexists(path):
        return
    kind = choose.choice(("file", "folder", "full", "link", "dangling", "circle"))
    if kind == "file":
        path.write_bytes(b"x")
    elif kind in ("folder", "full"):
        path.mkdir()
        if kind == "full":
            (path / "note").write_text("mine")
    else:
        elsewhere = folder.parent / "elsewhere"
        (elsewhere / "kept").mkdir(parents=True, exist_ok=True)
        path.symlink_to({"link": elsewhere, "dangling": folder / "none", "circle": path}[kind])


@pytest.mark.parametrize("seed", range(12))
def test_stray_things_stop_nothing_and_no_complete_checkpoint_is_lost(
    folder: Path, seed: int
) -> None:
    choose = random.Random(seed)  # noqa: S311 - the same litter each time
    for _ in range(100):
        litter(choose.choice((folder, folder, folder / "global_step_20")), choose)
    keeper = Keeper(folder, Rule(newest=2), "/dev/null")
    assert keeper.look() == [10, 20, 30]
    assert keeper.troubles == []
    assert keeper.look(over=True) == []
    for step in (40, 50):
        assert not step_faults(folder / f"global_step_{step}", (), False)
    elsewhere = folder.parent / "elsewhere"
    assert not elsewhere.exists() or (elsewhere / "kept").is_dir()


def test_one_that_cannot_be_deleted_does_not_stop_the_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.rmtree

    def failing(path: str) -> None:
        if path.endswith("global_step_10"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        real(path)

    monkeypatch.setattr(shutil, "rmtree", failing)
    keeper = Keeper(folder, Rule(newest=2), "/dev/null")
    assert keeper.look() == [10, 20, 30]
    assert "Permission denied" in keeper.troubles[0]
    assert left(folder) == ["global_step_40", "global_step_50", TRACKER]
    write_step(folder, 10)
    (folder / TRACKER).write_text("50")
    assert keeper.look() == [10]
