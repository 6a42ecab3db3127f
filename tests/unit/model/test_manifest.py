"""The manifest of a converted model: written last, and noticed when it does not fit."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.model import manifest

from tests.helpers.manifests import ABOUT


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with a manifest."""
    (tmp_path / "model.safetensors").write_bytes(bytes(4096))
    (tmp_path / "config.json").write_text("{}")
    manifest.write(tmp_path, ABOUT)
    return tmp_path


def test_what_was_written_is_read_again_and_fits(model: Path) -> None:
    found = manifest.read(model)
    assert found is not None
    assert {key: found[key] for key in ABOUT} == ABOUT
    assert sorted(found["files"]) == ["config.json", "model.safetensors"]
    assert found["files"]["model.safetensors"]["size"] == 4096
    assert found["files"]["config.json"]["sha256"] == manifest.sha256(model / "config.json")
    assert manifest.faults(model) == []
    assert manifest.faults(model, every_byte=True) == []


def test_no_other_file_stays_beside_it(model: Path) -> None:
    names = sorted(path.name for path in model.iterdir())
    assert names == ["config.json", "mnrun_manifest.json", "model.safetensors"]


def test_no_manifest_is_no_result(model: Path) -> None:
    (model / manifest.NAME).unlink()
    assert manifest.read(model) is None
    assert manifest.faults(model) == [f"{model / manifest.NAME} is missing"]


@pytest.mark.parametrize(
    "change",
    [
        {"version": 0},
        {"step": "160"},
        {"files": {"../outside": {"size": 1, "sha256": "00"}}},
        {"files": {"/outside": {"size": 1, "sha256": "00"}}},
        {"files": {"a//b": {"size": 1, "sha256": "00"}}},
        {"files": {"": {"size": 1, "sha256": "00"}}},
        {"files": {"config.json": {"size": 2}}},
        {"training": None},
    ],
)
def test_one_that_cannot_be_understood_is_damaged(model: Path, change: dict[str, Any]) -> None:
    path = model / manifest.NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert manifest.faults(model) == [f"{path} is damaged"]


def test_one_that_is_cut_off_is_damaged(model: Path) -> None:
    path = model / manifest.NAME
    path.write_bytes(path.read_bytes()[:-20])
    assert manifest.faults(model) == [f"{path} is damaged"]


def test_a_file_that_is_gone_or_shorter_is_noticed(model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(bytes(4000))
    wrong = f"{weights} has 4000 bytes; according to the manifest, 4096"
    assert manifest.faults(model) == [wrong]
    weights.unlink()
    assert manifest.faults(model) == [f"{weights} is missing"]


def test_another_content_of_the_same_size_is_noticed(model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(bytes(4095) + b"x")
    assert "damaged" in manifest.faults(model)[0]


def test_large_files_are_read_only_if_touched_or_told_to(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "SMALL", 100)
    weights = model / "model.safetensors"
    times = weights.stat()
    weights.write_bytes(bytes(4095) + b"x")
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert manifest.faults(model) == []
    assert "damaged" in manifest.faults(model, every_byte=True)[0]
    os.utime(weights)
    assert "damaged" in manifest.faults(model)[0]


def test_a_manifest_without_its_fields_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lacks step"):
        manifest.write(tmp_path, {key: ABOUT[key] for key in ABOUT if key != "step"})
    assert list(tmp_path.iterdir()) == []
