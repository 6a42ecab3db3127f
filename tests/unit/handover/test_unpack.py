"""A folder of an archive is whole or not there, whoever else makes it."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Invalid
from ansible_collections.mnrun.train.plugins.module_utils.handover.unpack import is_whole, unpack
from ansible_collections.mnrun.train.plugins.plugin_utils.bundle import pack


def nothing(folder: Path) -> None:
    assert folder.is_dir()


@pytest.fixture
def archive(tmp_path: Path) -> tuple[Path, str]:
    bundle = pack("x", {"a/one": b"1", "two": b"22"})
    path = tmp_path / "archive"
    path.write_bytes(gzip.compress(bundle.archive))
    return path, bundle.digest


def test_it_is_whole_once_it_is_there(tmp_path: Path, archive: tuple[Path, str]) -> None:
    folder = tmp_path / "place" / "x"
    assert not is_whole(folder)
    unpack(*archive, folder, nothing)
    assert is_whole(folder)
    assert (folder / "a/one").read_text() == "1"
    assert [path.name for path in folder.parent.iterdir()] == ["x"]


@pytest.mark.parametrize("harm", ["shorter", "gone", "listing"])
def test_a_damaged_one_is_made_again(tmp_path: Path, archive: tuple[Path, str], harm: str) -> None:
    folder = tmp_path / "x"
    unpack(*archive, folder, nothing)
    if harm == "shorter":
        (folder / "two").write_text("2")
    elif harm == "gone":
        (folder / "a/one").unlink()
    else:
        (folder / "complete.json").write_text("{")
    assert not is_whole(folder)
    unpack(*archive, folder, nothing)
    assert is_whole(folder)


def test_one_that_does_not_start_leaves_nothing(tmp_path: Path, archive: tuple[Path, str]) -> None:
    def fails(_folder: Path) -> None:
        raise Invalid("no Python")

    with pytest.raises(Invalid):
        unpack(*archive, tmp_path / "place" / "x", fails)
    assert list((tmp_path / "place").iterdir()) == []


@pytest.mark.parametrize("kept", [0, 10, 60])
def test_an_archive_that_was_cut_off_is_refused(
    tmp_path: Path, archive: tuple[Path, str], kept: int
) -> None:
    path, digest = archive
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(Invalid, match="arrived damaged"):
        unpack(path, digest, tmp_path / "place" / "x", nothing)


def test_an_archive_that_was_changed_on_its_way_is_refused(
    tmp_path: Path, archive: tuple[Path, str]
) -> None:
    path, digest = archive
    whole = path.read_bytes()
    for place in (0, 12, 20, len(whole) // 2, len(whole) - 6):
        for mask in (1, 6, 128):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :])
            with pytest.raises(Invalid, match="arrived damaged"):
                unpack(path, digest, tmp_path / "place" / "x", nothing)


def test_two_at_once_make_one(tmp_path: Path, archive: tuple[Path, str]) -> None:
    folder = tmp_path / "x"

    def other(_folder: Path) -> None:
        unpack(*archive, folder, nothing)

    unpack(*archive, folder, other)
    assert is_whole(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "x"]
