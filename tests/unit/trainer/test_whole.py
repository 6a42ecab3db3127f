"""What belongs to a whole step beside the shards: where its data loader had come to."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.trainer.whole import step_faults
from ansible_collections.mnrun.train.plugins.module_utils.trainer.words import VERL, Words, words

from tests.helpers.checkpoints import write_step


def form(loader: str, share: int = 1) -> Words:
    saved: dict[str, Any] = {**VERL["checkpoint"], "loader": loader, "loader_share": share}
    return words({**VERL, "checkpoint": saved})


def write_loaders(step: Path, *names: str) -> None:
    for name in names:
        with zipfile.ZipFile(step / name, "w") as file:
            file.writestr("archive/data.pkl", b"x" * 100)


@pytest.mark.parametrize(("share", "names"), [(1, ["data_0.pt", "data_1.pt"]), (2, ["data_0.pt"])])
def test_a_file_of_each_rank_that_reads_rows_of_its_own_is_whole(
    tmp_path: Path, share: int, names: list[str]
) -> None:
    """Ranks that share a sequence read the same rows, and one of them has the file."""
    step = write_step(tmp_path, 2)
    write_loaders(step, *names)
    assert step_faults(step, [], False, form("data_{rank}.pt", share)) == []


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        ([], "data_0.pt"),
        (["data_1.pt"], "data_0.pt"),
        (["data_0.pt"], "data_1.pt"),
        (["data_0.pt", "data_1.pt"], "data_3.pt"),
        (["data_0.pt", "data_1.pt", "data_2.pt"], "data_3.pt"),  # 3 of 4
        (["data_00.pt", "data_x.pt"], "data_0.pt"),
    ],
)
def test_a_missing_one_is_named(tmp_path: Path, names: list[str], missing: str) -> None:
    step = write_step(tmp_path, 2, world=4)
    write_loaders(step, *names)
    faults = step_faults(step, [], False, form("data_{rank}.pt"))
    assert f"{step / missing} is missing" in faults


def test_a_damaged_one_is_named(tmp_path: Path) -> None:
    step = write_step(tmp_path, 2)
    write_loaders(step, "data_0.pt")
    (step / "data_1.pt").write_bytes(b"cut")
    (fault,) = step_faults(step, [], False, form("data_{rank}.pt"))
    assert fault == f"{step / 'data_1.pt'} is truncated or damaged"


def test_one_file_for_all_is_beside_the_parts(tmp_path: Path) -> None:
    step = write_step(tmp_path, 2, ("actor", "critic"))
    parts = ["actor", "critic"]
    assert step_faults(step, parts, False, form("data.pt")) == [f"{step / 'data.pt'} is missing"]
    write_loaders(step, "data.pt")
    assert step_faults(step, parts, False, form("data.pt")) == []
    assert step_faults(step, parts, False, form("")) == []
