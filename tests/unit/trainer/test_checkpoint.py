"""Checkpoints: what is whole, what is half-written, and whose they are."""

from __future__ import annotations

import json
import random
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base import presence
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Unknown
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    Record,
)
from ansible_collections.mnrun.train.plugins.module_utils.result.ownership import (
    MARKER,
    owned,
    take_over,
)
from ansible_collections.mnrun.train.plugins.module_utils.trainer.checkpoint import survey
from ansible_collections.mnrun.train.plugins.module_utils.trainer.resume_point import (
    make_resumable,
)
from ansible_collections.mnrun.train.plugins.module_utils.trainer.words import TRACKER

from tests.helpers.checkpoints import KINDS, rule, write_hf, write_step


def test_no_folder_has_no_checkpoint(tmp_path: Path) -> None:
    assert survey(rule(tmp_path / "none"), hf=False) == (None, [])


def test_the_newest_whole_step_is_found_by_number(tmp_path: Path) -> None:
    for step in (9, 10, 100):
        write_step(tmp_path, step)
    (tmp_path / "global_step_x").mkdir()
    found = survey(rule(tmp_path), hf=False)
    assert (found.step, found.faults) == (100, [])
    assert found.newest is not None
    assert found.newest.path == tmp_path / "global_step_100"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_a_step_with_a_bad_shard_is_passed_over(tmp_path: Path, kind: str, damage: str) -> None:
    write_step(tmp_path, 1)
    bad = write_step(tmp_path, 2) / f"{kind}_world_size_2_rank_1.pt"
    if damage == "missing":
        bad.unlink()
    else:
        bad.write_bytes(bad.read_bytes()[:-30] if damage == "cut" else b"")
    found = survey(rule(tmp_path), hf=False)
    assert found.step == 1
    assert len(found.faults) == 1
    assert str(bad) in found.faults[0]


def test_a_step_that_the_trainer_had_not_finished_is_passed_over(tmp_path: Path) -> None:
    write_step(tmp_path, 2)
    write_step(tmp_path, 1)
    found = survey(rule(tmp_path), hf=False)
    assert found.step == 1
    assert "incomplete: the trainer had finished step 1" in found.faults[0]


@pytest.mark.parametrize("tracker", ["", "abc", "12\n34"])
def test_a_damaged_tracker_says_nothing(tmp_path: Path, tracker: str) -> None:
    write_step(tmp_path, 2)
    (tmp_path / TRACKER).write_text(tracker)
    assert survey(rule(tmp_path), hf=False).step == 2


def test_each_part_of_a_ppo_step_counts(tmp_path: Path) -> None:
    parts = ("actor", "critic")
    step = write_step(tmp_path, 3, parts)
    found = survey(rule(tmp_path, *parts), hf=False).newest
    assert found is not None
    assert found.model == step / "actor" / "huggingface"
    (step / "critic").rename(step / "gone")
    assert survey(rule(tmp_path, *parts), hf=False) == (
        None,
        [f"{step / 'critic'} contains no shards"],
    )


def test_the_hugging_face_form_counts_if_asked_for(tmp_path: Path) -> None:
    step = write_step(tmp_path, 3)
    assert survey(rule(tmp_path, hf=True), hf=True).newest is None
    assert survey(rule(tmp_path, hf=True), hf=False).step == 3
    write_hf(step / "huggingface")
    assert survey(rule(tmp_path, hf=True), hf=True).step == 3


OURS, THEIRS = "a" * 64, "b" * 64


def record(key: str) -> Record:
    return Record("sft", "slurm", key, {"key": key})


def test_a_folder_is_taken_over_once(tmp_path: Path) -> None:
    place = rule(tmp_path / "checkpoints")
    assert owned(place, OURS) is None
    assert take_over(place, record(OURS), 0.0) == ""
    assert json.loads((place.path / MARKER).read_text())["fingerprint"] == OURS
    write_step(place.path, 1)
    assert take_over(place, record(OURS), 0.0) == ""
    assert owned(place, OURS) == place
    assert owned(place, THEIRS) is None


def test_two_specs_in_turn_never_mix(tmp_path: Path) -> None:
    place = rule(tmp_path / "checkpoints")
    for turn, key in enumerate([OURS, THEIRS, OURS, THEIRS]):
        take_over(place, record(key), float(turn))
        write_step(place.path, turn + 1)
    assert sorted(path.name for path in place.path.glob("global*")) == [
        "global_step_2",
        "global_step_4",
    ]
    aside = owned(place, OURS)
    assert aside is not None
    assert aside.path == tmp_path / f"checkpoints.{OURS[:12]}"
    assert sorted(path.name for path in aside.path.glob("global*")) == [
        "global_step_1",
        "global_step_3",
    ]


def test_a_name_that_is_taken_is_not_overwritten(tmp_path: Path) -> None:
    place = rule(tmp_path / "checkpoints")
    take_over(place, record(THEIRS), 0.0)
    (tmp_path / f"checkpoints.{THEIRS[:12]}").mkdir()
    (tmp_path / f"checkpoints.{THEIRS[:12]}" / "kept").touch()
    take_over(place, record(OURS), 0.0)
    assert (tmp_path / f"checkpoints.{THEIRS[:12]}" / "kept").exists()
    assert len(list(tmp_path.glob(f"checkpoints.{THEIRS[:12]}-*"))) == 1


@pytest.mark.parametrize("marker", ["", "{", "[]", '{"fingerprint": 3}', '{"fingerprint": "../x"}'])
def test_a_damaged_marker_names_nobody(tmp_path: Path, marker: str) -> None:
    place = rule(tmp_path / "checkpoints")
    write_step(place.path, 1)
    (place.path / MARKER).write_text(marker)
    assert "unknown options" in take_over(place, record(OURS), 0.0)
    assert len(list(tmp_path.glob("checkpoints.unknown-*/global_step_1"))) == 1


def test_a_crash_between_the_renames_loses_nothing(tmp_path: Path) -> None:
    place = rule(tmp_path / "checkpoints")
    take_over(place, record(OURS), 0.0)
    write_step(place.path, 1)
    place.path.rename(tmp_path / f"checkpoints.{OURS[:12]}")  # and then it was killed
    assert "moved back" in take_over(place, record(OURS), 0.0)
    assert (place.path / "global_step_1").is_dir()


# links and stray things


def linked(tmp_path: Path) -> tuple[Path, Path]:
    """A checkpoint folder in the home that is a link to a file system with more space."""
    scratch, home = tmp_path / "scratch", tmp_path / "home"
    (scratch / "mine").mkdir(parents=True)
    home.mkdir()
    (home / "checkpoints").symlink_to(scratch / "mine")
    return scratch, home / "checkpoints"


def test_behind_a_link_the_folder_moves_and_not_the_link(tmp_path: Path) -> None:
    scratch, link = linked(tmp_path)
    for turn, key in enumerate([OURS, THEIRS, OURS]):
        take_over(rule(link), record(key), float(turn))
        write_step(link, turn + 1)
        assert link.is_symlink()
        assert owned(rule(link), key) == rule(link)
    assert sorted(path.name for path in scratch.iterdir()) == ["mine", f"mine.{THEIRS[:12]}"]
    assert [path.name for path in link.parent.iterdir()] == ["checkpoints"]
    assert sorted(path.name for path in link.glob("global*")) == ["global_step_1", "global_step_3"]


@pytest.mark.parametrize("above", [False, True])
def test_a_link_that_leads_nowhere_is_not_an_empty_folder(tmp_path: Path, above: bool) -> None:
    scratch, link = linked(tmp_path)
    take_over(rule(link), record(OURS), 0.0)
    if above:
        place = rule(tmp_path / "other" / "checkpoints")
        (tmp_path / "other").symlink_to(tmp_path / "not mounted")
    else:
        place = rule(link)
        scratch.rename(tmp_path / "unmounted")
    for look in (lambda: owned(place, OURS), lambda: take_over(place, record(THEIRS), 1.0)):
        with pytest.raises(Unknown, match="may not be mounted"):
            look()


STRAY = (
    "global_step_0010",
    "global_step_\u0663",
    "global_step_7",
    "passed_over.global_step_4",
    "x",
)


@pytest.mark.parametrize("seed", range(10))
def test_stray_things_hide_no_complete_checkpoint(tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)  # noqa: S311 - the same litter each time
    for step in (2, 4, 6):
        write_step(tmp_path, step)
    (tmp_path / "global_step_6" / "model_world_size_2_rank_0.pt").write_bytes(b"cut")
    names = [*STRAY, *(f"global_step_{step}" for step in choose.sample(range(8, 10**12), 40))]
    places = [tmp_path, tmp_path / "global_step_4", tmp_path / "global_step_2"]
    for name in [*names, "optim_world_size_9999999_rank_0.pt", "model_world_size_3_rank_0.pt"]:
        path = choose.choice(places if "world" not in name else places[1:]) / name
        kind = choose.choice(("file", "folder", "dangling", "circle"))
        if kind == "folder":
            path.mkdir()
        elif kind == "file":
            path.write_bytes(b"x")
        else:
            path.symlink_to("nowhere" if kind == "dangling" else path.name)
    (tmp_path / TRACKER).write_text(choose.choice(("6", "100000", "\u0666")))
    assert survey(rule(tmp_path), hf=False).step == 4
    assert make_resumable(rule(tmp_path)) is not None
    assert (tmp_path / TRACKER).read_text() == "4"
    assert [step for step in (2, 4) if not (tmp_path / f"global_step_{step}").is_dir()] == []
    assert survey(rule(tmp_path), hf=False).step == 4


def test_a_marker_that_is_damaged_for_a_moment_names_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = rule(tmp_path / "checkpoints")
    take_over(place, record(OURS), 0.0)
    real, cut = presence.opened, [True]

    def once_cut(path: Path) -> BinaryIO:
        with real(path) as stream:
            data = stream.read()
        return BytesIO(data[:40] if path.name == MARKER and cut and cut.pop() else data)

    monkeypatch.setattr(presence, "opened", once_cut)
    assert take_over(place, record(OURS), 1.0) == ""
    assert not cut
