"""Names of files from elsewhere lead nowhere but into the folder they are used in."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.model.inside import inside, name_fault

HOSTILE = (
    *("/abs", "../x", "a/../../x", "..", ".", "", "a//b", "a/", "./a", "a/./b", "a/..", "//x"),
    *("a\0b", "a\nb", "a\x1b[2Jb", "a\u202eb", "a\ud800", "..\\x", "C:\\x", "x" * 256),
    *("a/" * 600 + "b", "é" * 128),
)
SOUND = (
    *("config.json", "data/train-00000-of-00001.parquet", ".gitattributes", "a b", "モデル.bin"),
    *("...", "..a", "a..", "~", "~root/x", "-rf", "$HOME", "x" * 255),
)


@pytest.mark.parametrize("name", [*HOSTILE, None, 7, ["a"], b"a"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    assert name_fault(name)
    assert len(name_fault(name)) < 200
    assert name_fault(name).isprintable()
    with pytest.raises(ValueError, match=r"\S"):
        inside(tmp_path, name)


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_name_is_a_file_of_the_folder(tmp_path: Path, name: str) -> None:
    assert name_fault(name) == ""
    assert inside(tmp_path, name) == tmp_path / name


def test_a_folder_that_is_a_link_leads_out_but_the_folder_itself_may_be_one(
    tmp_path: Path,
) -> None:
    real = tmp_path / "real"
    (real / "sub").mkdir(parents=True)
    (real / "out").symlink_to(tmp_path)
    (real / "near").symlink_to("sub")
    (real / "file").symlink_to(tmp_path / "x")
    (tmp_path / "model").symlink_to(real)
    for folder in (real, tmp_path / "model"):
        assert inside(folder, "sub/a") == folder / "sub" / "a"
        assert inside(folder, "file") == folder / "file", "the link itself, not what it names"
        for name in ("out/x", "near/x"):
            with pytest.raises(ValueError, match="leads through a link"):
                inside(folder, name)
