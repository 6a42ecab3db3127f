"""Files of trackers, each as the tracker itself wrote it: W&B, tensorboardX, Trackio."""

from __future__ import annotations

import gzip
import shutil
import sqlite3
import struct
import sys
from contextlib import closing
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.trainer.tracker_files import found, logged
from hypothesis import given
from hypothesis import strategies as st

HERE = Path(__file__).parent / "trackers"
WANDB = gzip.decompress((HERE / "run-f2ouhu8i.wandb.gz").read_bytes())
EVENTS = HERE / "events.out.tfevents.1795813031.vm"


@pytest.fixture
def wandb(tmp_path: Path) -> Path:
    path = tmp_path / "run-1.wandb"
    path.write_bytes(WANDB)
    return path


def test_an_offline_run_of_wandb_is_read(wandb: Path) -> None:
    read = list(logged(wandb))
    assert [one.step for one in read] == [1, 2, 3, 4, 5, 6]
    # The third loss was NaN. The second record spans blocks.
    assert [one.values.get("train/loss") for one in read] == [6.0, 3.0, None, 1.5, 1.2, 1.0]
    assert read[-1].values["timing_s/save_checkpoint"] == 0.25
    assert all(1795812900 < one.time < 1795813000 for one in read)


def test_event_files_of_tensorboard_are_read() -> None:
    read = list(logged(EVENTS))
    losses = [(one.step, one.values["train/loss"]) for one in read if "train/loss" in one.values]
    assert losses == [(1, 4.0), (2, 2.0), (3, pytest.approx(4 / 3)), (4, 1.0)]
    norms = [one.step for one in read if "train/grad_norm" in one.values]
    assert norms == [1, 3, 4]


def test_a_database_of_trackio_is_read(tmp_path: Path) -> None:
    path = tmp_path / "toy #1.db"
    with closing(sqlite3.connect(path)) as base, base:
        base.execute("CREATE TABLE metrics (id INTEGER PRIMARY KEY, run_id TEXT, timestamp TEXT, "
                     "run_name TEXT, step INTEGER, metrics TEXT)")  # fmt: skip
        for step, stamp in ((1, "2026-11-27T20:57:13.5+00:00"), (2, "2026-11-27T20:57:14Z")):
            base.execute("INSERT INTO metrics VALUES (?, 'r', ?, 'one', ?, ?)",
                         (step, stamp, step, b'{"train/loss": 0.5, "note": "x"}'))  # fmt: skip
    first, second = logged(path)
    assert (first.step, first.values) == (1, {"train/loss": 0.5})
    assert second.time - first.time == 0.5


def test_a_python_without_sqlite_leaves_databases_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.db").write_bytes(b"SQLite format 3\0")
    monkeypatch.setitem(sys.modules, "sqlite3", None)
    assert list(logged(tmp_path / "a.db")) == []


def test_something_else_of_that_name_holds_nothing(tmp_path: Path) -> None:
    for name in ("a.wandb", "events.out.tfevents.1", "a.db"):
        (tmp_path / name).write_bytes(b"SQLite format 3\0 and more" * 99)
        assert list(logged(tmp_path / name)) == []
        (tmp_path / name).write_bytes(b"")
        assert list(logged(tmp_path / name)) == []


@given(cut=st.integers(0, len(WANDB)))
def test_a_run_that_was_killed_counts_as_far_as_it_is_whole(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "run-1.wandb"
    path.write_bytes(WANDB[:cut])
    steps = [one.step for one in logged(path)]
    assert steps == [1, 2, 3, 4, 5, 6][: len(steps)]


@given(at=st.integers(7, len(WANDB) - 1), byte=st.binary(min_size=1, max_size=9))
def test_a_damaged_run_raises_nothing(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: bytes
) -> None:
    path = tmp_path_factory.mktemp("bad") / "run-1.wandb"
    path.write_bytes(WANDB[:at] + byte + WANDB[at + len(byte) :])
    assert all(isinstance(one.time, float) for one in logged(path))


def test_files_are_found_but_not_within_checkpoints(wandb: Path) -> None:
    folder = wandb.parent
    places = ["wandb/offline-run-1", "checkpoints/runs/one", "checkpoints/step_8/runs"]
    for place in places:
        (folder / place).mkdir(parents=True)
        shutil.copy(EVENTS, folder / place / EVENTS.name)
    (folder / "round").symlink_to(folder)
    names = found(folder, lambda name: name.startswith("step_"))
    assert {path.parent.relative_to(folder).as_posix() for path in names} == {".", *places[:2]}


@pytest.mark.parametrize("time", [float("nan"), float("inf"), -float("inf"), 1e300, 0.0])
def test_a_record_of_no_possible_time_does_not_count(tmp_path: Path, time: float) -> None:
    events = EVENTS.read_bytes()
    first = next(iter(logged(EVENTS)))
    path = tmp_path / EVENTS.name
    path.write_bytes(events.replace(struct.pack("<d", first.time), struct.pack("<d", time)))
    left = list(logged(path))
    assert left
    assert len(left) < len(list(logged(EVENTS)))
    assert all(abs(one.time - first.time) < 3600 for one in left)
