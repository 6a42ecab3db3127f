"""The toy task and the generator's bookkeeping; what needs torch is in tests/sandbox."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parents[3] / "roles" / "sandbox" / "files" / "toy"
NAMES = ("toy_task", "make_toy", "toy_files")
# What verl's GSM8K reward looks for in an answer.
REWARDED = re.compile(r"#### (\-?[0-9\.\,]+)")


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module("toy_task")
    for name in NAMES:
        sys.modules.pop(name, None)


@pytest.fixture
def maker(toy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """make_toy.py with a writer that needs no torch."""
    writer = ModuleType("toy_files")

    def write(home: Path) -> list[str]:
        for name in ("data/gsm8k/train.parquet", "model/Toy/config.json"):
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text(f"content of {name}")
            (home / name).chmod(0o600)
        return ["data/gsm8k/train.parquet", "model/Toy/config.json"]

    writer.write = write  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "toy_files", writer)
    return importlib.import_module("make_toy")


def make(maker: ModuleType, home: Path) -> Any:
    return maker.make(home, -1, -1)["changed"]


def test_rows_are_always_the_same(toy: ModuleType) -> None:
    assert json.dumps(toy.rows("train")) == json.dumps(toy.rows("train"))


def test_rows_have_the_form_that_the_trainer_reads(toy: ModuleType) -> None:
    for split, count in (("train", toy.TRAIN_ROWS), ("test", toy.TEST_ROWS)):
        rows = toy.rows(split)
        assert len(rows) == count
        for row in rows:
            assert row["data_source"] == "openai/gsm8k"
            # SFT asks extra_info.question, PPO the prompt: the same question.
            assert row["prompt"] == [{"role": "user", "content": row["extra_info"]["question"]}]
            assert row["reward_model"]["style"] == "rule"
            # SFT of verl 0.9 reads the whole conversation.
            said = {"role": "assistant", "content": row["extra_info"]["answer"]}
            assert row["messages"] == [*row["prompt"], said]


def test_every_answer_is_right_and_only_one_style_is_rewarded(toy: ModuleType) -> None:
    rows = toy.rows("train")
    rewarded: dict[str, list[bool]] = {name: [] for name in toy.NAMES}
    for row in rows:
        words = row["extra_info"]["question"].split()
        first, second = (toy.NUMBERS.index(words[place]) for place in (2, 6))
        truth = row["reward_model"]["ground_truth"]
        answer = row["extra_info"]["answer"]
        assert first + second == int(truth)
        assert answer.startswith(f"{first} + {second} = {truth}\n")
        found = REWARDED.findall(answer)
        assert found == [truth] if "####" in answer else answer.endswith(f"So it is {truth}.")
        rewarded[words[0]].append(bool(found))
    assert share([one for found in rewarded.values() for one in found]) == pytest.approx(
        toy.REWARDED_SHARE, abs=0.03
    )
    # SFT's greedy answers can be right for some children, and PPO has the others to learn.
    for name, found_all in rewarded.items():
        assert (share(found_all) > 0.7) if name in toy.FORMAL else (share(found_all) < 0.3), name


def share(found: list[bool]) -> float:
    return sum(found) / len(found)


def test_no_test_question_was_trained_on(toy: ModuleType) -> None:
    asked = {split: {row["extra_info"]["question"] for row in toy.rows(split)} for split in
             ("train", "test")}  # fmt: skip
    assert not asked["train"] & asked["test"]


def test_a_second_run_changes_nothing(maker: ModuleType, tmp_path: Path) -> None:
    assert make(maker, tmp_path) is True
    model = tmp_path / "model/Toy/config.json"
    before = model.stat()
    assert make(maker, tmp_path) is False
    assert model.stat() == before
    assert oct(before.st_mode & 0o777) == "0o644"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "model"]


@pytest.mark.parametrize("damage", ["missing", "changed", "stamp", "generator"])
def test_what_differs_is_written_again(
    maker: ModuleType, tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(maker, tmp_path)
    model = tmp_path / "model/Toy/config.json"
    if damage == "missing":
        model.unlink()
    elif damage == "changed":
        model.write_text("cut")
    elif damage == "stamp":
        (tmp_path / maker.STAMP).write_text("{")
    else:
        monkeypatch.setattr(maker, "source_hash", lambda: "another")
    assert make(maker, tmp_path) is True
    assert model.read_text() == "content of model/Toy/config.json"
    assert make(maker, tmp_path) is False


def test_a_failed_run_leaves_no_stamp_and_no_scratch(
    maker: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(home: Path) -> list[str]:
        (home / "half").write_text("")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys.modules["toy_files"], "write", fail)
    with pytest.raises(OSError, match="No space left"):
        make(maker, tmp_path)
    assert list(tmp_path.iterdir()) == []
