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


def test_without_apt_it_names_what_to_install(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "id", "sh"):
        (programs / name).symlink_to(str(shutil.which(name)))
    make = str(shutil.which("make"))
    done = subprocess.run(
        [make, ".venv/bin/pip", f"PYTHON={tmp_path}/python"], cwd=tmp_path, text=True,
        env={"PATH": str(programs)}, capture_output=True, timeout=30, check=False,
    )  # fmt: skip
    assert (
        f"mnrun needs git, and the modules ensurepip and venv of {tmp_path}/python" in done.stderr
    )
    assert "Debian packages" not in done.stdout
    assert done.returncode == 2
