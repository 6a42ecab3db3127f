"""What `make` says where it cannot even make a virtual environment."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]
# A Python of a new enough version that has no module ensurepip.
PYTHON = """#!/bin/sh
case "$2" in *ensurepip*) exit 1 ;; esac
"""


def without_apt(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`make` where there is neither apt nor git, with a Python without ensurepip."""
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "python").write_text(PYTHON)
    (folder / "python").chmod(0o755)
    programs = folder / "bin"
    programs.mkdir()
    for name in ("bash", "id", "sh"):
        (programs / name).symlink_to(str(shutil.which(name)))
    return subprocess.run(
        [str(shutil.which("make")), ".venv/bin/pip", f"PYTHON={folder}/python", *words],
        cwd=folder, env={"PATH": str(programs)}, capture_output=True, text=True, timeout=30,
        check=False,
    )  # fmt: skip


def test_without_apt_it_names_what_to_install(tmp_path: Path) -> None:
    done = without_apt(tmp_path)
    wanted = f"mnrun needs git, and the modules ensurepip and venv of {tmp_path}/python"
    assert wanted in done.stderr
    assert "Debian packages" not in done.stdout
    assert done.returncode == 2


def test_from_a_folder_of_packages_it_needs_neither_git_nor_ensurepip(tmp_path: Path) -> None:
    done = without_apt(tmp_path, "OFFLINE=pack")
    assert "mnrun needs git" not in done.stderr
    assert "== .venv" in done.stdout
