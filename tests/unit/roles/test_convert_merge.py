"""Before the merger runs: the checkpoint is found, and what it lacks is said in one line."""

from __future__ import annotations

import json
import sys
import types
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
FILES = ROOT / "roles/convert/files"
KEY = "ab" * 32


@pytest.fixture
def merge(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """The module as the job sees it: its folder is on the path."""
    monkeypatch.syspath_prepend(str(ROOT / "plugins/module_utils/trainer"))
    monkeypatch.syspath_prepend(str(FILES))
    import convert_merge  # noqa: PLC0415

    yield convert_merge
    for name in ("convert_merge", "convert_errors", "words"):
        sys.modules.pop(name, None)


def write(folder: Path, ranks: int = 2, part: str = "") -> dict[str, Any]:
    step = folder / "global_step_8" / part
    step.mkdir(parents=True)
    (folder / ".mnrun.json").write_text(json.dumps({"fingerprint": KEY}))
    (step / "fsdp_config.json").write_text("{}")
    for rank in range(ranks):
        with zipfile.ZipFile(step / f"model_world_size_{ranks}_rank_{rank}.pt", "w") as file:
            file.writestr("data", "x")
    return {"checkpoints": str(folder), "fingerprint": KEY, "step": 8, "part": part}


@pytest.mark.parametrize("part", ["", "actor"])
def test_a_whole_checkpoint_is_found(merge: Any, tmp_path: Path, part: str) -> None:
    source = write(tmp_path / "checkpoints", part=part)
    assert merge.find_checkpoint(source) == tmp_path / "checkpoints/global_step_8" / part


def test_one_that_was_set_aside_is_found(merge: Any, tmp_path: Path) -> None:
    source = write(tmp_path / "checkpoints")
    aside = tmp_path / f"checkpoints.{KEY[:12]}"
    (tmp_path / "checkpoints").rename(aside)
    write(tmp_path / "checkpoints")
    (tmp_path / "checkpoints" / ".mnrun.json").write_text(json.dumps({"fingerprint": "cd" * 32}))
    assert merge.find_checkpoint(source) == aside / "global_step_8"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda step: (step / "model_world_size_2_rank_1.pt").unlink(), "lacks model_world_size_2"),
        (
            lambda step: (step / "model_world_size_2_rank_0.pt").write_bytes(b"PK\x03\x04cut"),
            "rank_0.pt is truncated or damaged",
        ),
        (lambda step: (step / "fsdp_config.json").unlink(), "fsdp_config.json is missing"),
        (lambda step: [path.unlink() for path in step.glob("*.pt")], "save_contents lacks `model`"),
        (
            lambda step: (step / "model_world_size_4_rank_3.pt").write_bytes(b""),
            "weights of 2 trainings",
        ),
        (lambda step: step.rename(step.with_name("global_step_4")), "no checkpoint of step 8.*: 4"),
    ],
)
def test_what_is_wrong_is_said(merge: Any, tmp_path: Path, damage: Any, message: str) -> None:
    source = write(tmp_path / "checkpoints")
    damage(tmp_path / "checkpoints/global_step_8")
    with pytest.raises(Exception, match=message) as caught:
        merge.merge(merge.find_checkpoint(source), tmp_path, {"merger": "none.such"})
    assert type(caught.value).__name__ == "ConversionError"


def test_a_model_that_the_trainer_saved_itself_is_copied(merge: Any, tmp_path: Path) -> None:
    trainer = {"checkpoint": {"folder": "step-{step:04}", "huggingface": "hf"}, "log": {}}
    model = tmp_path / "checkpoints/step-0008/hf"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (tmp_path / "checkpoints/.mnrun.json").write_text(json.dumps({"fingerprint": KEY}))
    source = {"checkpoints": str(tmp_path / "checkpoints"), "fingerprint": KEY, "step": 8}
    source |= {"part": "", "trainer": trainer}
    out = tmp_path / "out"
    merge.merge(merge.find_checkpoint(source), out, {"merger": "", "source": source})
    assert [path.name for path in out.iterdir()] == ["config.json"]


def test_too_little_room_is_said_before_the_merger_runs(
    merge: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.safetensors").write_bytes(bytes(1000))
    merge.require_room(tmp_path, tmp_path)
    monkeypatch.setattr(merge.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=999))
    with pytest.raises(Exception, match="GB left"):
        merge.require_room(tmp_path, tmp_path)
