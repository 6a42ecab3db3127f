"""The folder of a run: gone with it, and never while it lives."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mnrun.private_folder import private_folder

_ELSEWHERE = """
import sys
from mnrun.private_folder import private_folder
with private_folder() as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def another() -> tuple[subprocess.Popen[str], Path]:
    """Another run with the same temporary folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", _ELSEWHERE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def test_it_is_for_us_alone_and_gone_afterwards(temporary: Path) -> None:
    with private_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert folder.name.startswith("mnrun-cli-")
    assert list(temporary.iterdir()) == []


def test_one_of_a_run_that_lives_stays_and_one_of_a_killed_run_goes(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, folder = another()
    # Seen from another PID namespace, its process is not there.
    monkeypatch.setattr(os, "kill", lambda *_: (_ for _ in ()).throw(ProcessLookupError()))
    with private_folder():
        assert folder.is_dir()
    process.kill()
    process.communicate()
    with private_folder():
        assert not folder.exists()
    assert list(temporary.iterdir()) == []


def test_folders_of_others_stay(temporary: Path) -> None:
    kept = [temporary / name for name in ("mnrun-12-ab", "mnrun-cli-x", ".mnrun-cli-new-y")]
    for folder in kept:
        folder.mkdir()
    with private_folder():
        pass
    assert sorted(temporary.iterdir()) == sorted(kept)
