"""The file with the options that are kept with a run."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.mnrun.train.plugins.module_utils.record.run_options import keep, path_of


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
