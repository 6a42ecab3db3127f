"""mnrun init, with its real play, on a machine that is no login node."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_where_slurm_does_not_answer_nothing_is_written(tmp_path: Path) -> None:
    """A sinfo is first on PATH that knows its version, and reaches no slurmctld."""
    tools = tmp_path / "bin"
    tools.mkdir()
    silent = "#!/bin/sh\n[ \"$1\" = --version ] && exec echo 'slurm 24.11.5'\n"
    silent += "echo 'error: Unable to contact slurm controller (connect failure)' >&2; exit 1\n"
    for name in ("sinfo", "scontrol", "sacctmgr", "sbatch"):
        (tools / name).write_text(silent)
        (tools / name).chmod(0o755)
    environ = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-m", "mnrun", "init", tmp_path / "site", "--yes"],
        env=environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "mnrun: Slurm does not answer on this machine: partitions: " in done.stderr
    assert "Unable to contact slurm controller" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]
