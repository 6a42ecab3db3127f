"""What the login node has of what mnrun needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Missing
from ansible_collections.mnrun.train.plugins.module_utils.base.finding import FAULT, OK, WARNING
from ansible_collections.mnrun.train.plugins.module_utils.base.process import Result
from ansible_collections.mnrun.train.plugins.module_utils.preflight import login
from ansible_collections.mnrun.train.plugins.module_utils.result.quota import Quota


def look(
    monkeypatch: pytest.MonkeyPatch, folder: Path, absent: tuple[str, ...] = (),
    version: str = "slurm 24.11.5",
) -> dict[str, list[tuple[str, str]]]:  # fmt: skip
    def find(name: str) -> str:
        if name in absent:
            raise Missing(f"there is no {name}")
        return name

    monkeypatch.setattr(login, "find_tool", find)
    monkeypatch.setattr(login, "quotas", lambda *_: [])
    found, _room = login.findings(folder, lambda *_: Result(0, version, ""))
    parts: dict[str, list[tuple[str, str]]] = {}
    for one in found:
        parts.setdefault(one.part, []).append((one.level, one.what))
    return parts


def test_all_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    parts = look(monkeypatch, tmp_path / "runs" / "mine")
    assert parts["Slurm"] == [(OK, "slurm 24.11.5")]
    assert [level for level, _ in parts["login node"] + parts["folder"]] == [OK, OK]
    assert f"left by the file system of {tmp_path}" in parts["folder"][0][1]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("version", "level"), [("slurm 22.05.8", OK), ("slurm 20.11.9", WARNING), ("", WARNING)]
)
def test_the_version_of_slurm(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, level: str
) -> None:
    assert [one for one, _ in look(monkeypatch, tmp_path, version=version)["Slurm"]] == [level]


def test_every_missing_command_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = look(monkeypatch, tmp_path, absent=("sbatch", "srun", "sacct"))["Slurm"]
    assert [(level, text.split(" on ")[0].split(":")[0]) for level, text in found] == [
        (FAULT, "there is no sbatch"),
        (FAULT, "there is no srun"),
        (WARNING, "there is no sacct"),
    ]


def test_a_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    ((level, text),) = look(monkeypatch, tmp_path / "runs")["folder"]
    assert level == FAULT
    assert f"{tmp_path} cannot be written by you" in text


def test_the_tightest_limit_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(login, "quotas", lambda *_: [Quota("your quota", 10, 100)])
    found = login.room(tmp_path, lambda *_: Result(0, "", ""))
    assert found == (10, f"your quota on {tmp_path}")
    (one,) = login.room_findings(tmp_path, found)
    assert one.level == FAULT
