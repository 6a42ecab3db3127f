"""``mnrun_prune_confirmed=false`` with the real ansible-playbook: a no in any spelling is a no."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def prune(base: Path, confirmed: str) -> str:
    """Run the playbook as typed without mnrun's command line; returns what it printed."""
    (base / "runs" / "exp" / ".mnrun").mkdir(parents=True, exist_ok=True)
    (base / "hosts").write_text("[login]\nhere\n")
    # A Slurm without jobs: what it is asked for, without the %, is a header that squeue may print.
    (base / "squeue").write_text(
        '#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\n'
        "echo \"$2\" | sed 's/%i/JOBID/; s/%T/STATE/'\n"
    )
    (base / "squeue").chmod(0o755)
    done = subprocess.run(
        [
            sys.executable, "-m", "ansible.cli.playbook", "playbooks/prune.yml",
            "-i", str(base / "hosts"),
            "-e", "ansible_connection=local", "-e", f"ansible_python_interpreter={sys.executable}",
            "-e", '{"mnrun_prune_names": ["exp"]}',
            "-e", f"mnrun_base_dir={base}", "-e", f"mnrun_prune_confirmed={confirmed}",
        ],
        cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                       "PATH": f"{base}:{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("no", ["false", "''"])
def test_a_run_stays_whose_removal_is_not_confirmed(tmp_path: Path, no: str) -> None:
    assert "Dry run" in prune(tmp_path, no)
    assert (tmp_path / "runs" / "exp").is_dir()


@pytest.mark.parametrize("yes", ["Yes"])
def test_a_run_goes_whose_removal_is_confirmed(tmp_path: Path, yes: str) -> None:
    assert "Dry run" not in prune(tmp_path, yes)
    assert not (tmp_path / "runs" / "exp").exists()
