"""A model's folder in the Hugging Face cache: the snapshot in it is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.model import cache


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two snapshots, of which only those with a configuration count as complete."""
    folder = tmp_path / "models--TEAM--NAME"
    for commit in ("aaa", "bbb"):
        (folder / "snapshots" / commit).mkdir(parents=True)
        (folder / "snapshots" / commit / "config.json").write_text("{}")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("aaa\n")

    def faults(snapshot: Path) -> list[str]:
        return [] if (snapshot / "config.json").is_file() else ["no config.json"]

    monkeypatch.setattr(cache, "model_faults", faults)
    return folder


def test_the_snapshot_of_its_main_branch_is_named(cached: Path) -> None:
    assert cache.cache_fault(cached).endswith(f"name its snapshot {cached}/snapshots/aaa")
    (cached / "snapshots" / "aaa" / "config.json").unlink()
    assert cache.cache_fault(cached).endswith(f"name its snapshot {cached}/snapshots/bbb")
    (cached / "snapshots" / "bbb" / "config.json").unlink()
    assert "none of its 2 snapshots is complete" in cache.cache_fault(cached)


def test_any_other_folder_is_left_to_the_check_of_a_model(cached: Path) -> None:
    assert cache.cache_fault(cached / "snapshots" / "aaa") == ""
    assert cache.cache_fault(cached / "none") == ""
