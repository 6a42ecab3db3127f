"""The file with the options that are kept with a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Refused
from ansible_collections.mnrun.train.plugins.module_utils.record.run_options import (
    keep,
    path_of,
    read,
)


def test_only_a_text_makes_a_file(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    keep(run_dir, "")
    assert not run_dir.exists()
    keep(run_dir, "sft: {}\n")
    assert path_of(run_dir).read_text() == "sft: {}\n"


def test_a_file_with_the_same_text_is_not_written_again(tmp_path: Path) -> None:
    path_of(tmp_path).write_text("sft: {}\n")
    path_of(tmp_path).chmod(0o400)
    before = path_of(tmp_path).stat()
    keep(tmp_path, "sft: {}\n")
    assert path_of(tmp_path).stat() == before


def a_dangling_link(path: Path) -> None:
    path.symlink_to("/not/mounted/options.yml")


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [a_dangling_link, a_link_to_itself, Path.mkdir, os.mkfifo])
def test_what_cannot_be_read_is_not_a_run_without_options(tmp_path: Path, make: Any) -> None:
    assert read(tmp_path) == ""
    make(path_of(tmp_path))
    with pytest.raises(Refused, match="is not a file that can be read"):
        read(tmp_path)
    with pytest.raises(Refused, match="is not a file that can be read"):
        keep(tmp_path, "sft: {}\n")


def test_a_link_to_a_file_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("sft: {}\n")
    path_of(tmp_path).symlink_to("mine")
    assert read(tmp_path) == "sft: {}\n"
