"""A sweep on the sandbox: runs of a user's own program, and each job once. Several runs at once are
in tests/unit/cli/test_sweep_drive.py."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import ROOT, Cluster
from .mnrun import mnrun

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(600)]

NAME = f"sweep-{time.time():.0f}"
BASE = f"~/training/{NAME}"
FILE = f"""\
name: {NAME}
stage: sft
at_most: 1
base:
  variables:
    mnrun_trainer: command
    sft_trainer: ~/own_steps.py
    sft_options: {{}}
    mnrun_nodes: 1
    mnrun_nodelist: ""
  sft: {{max_steps: 2}}
grid:
  sft:
    rate: [0.1, 0.2]
"""


@pytest.fixture(scope="module")
def file(sandbox: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The sweep's file; its runs are removed at the end."""
    shutil.copy(ROOT / "tests/sandbox/files/own_steps.py", sandbox.home / "own_steps.py")
    sandbox.run("chmod 644 ~mluser/own_steps.py", "root@login")
    path = tmp_path_factory.mktemp("sweep") / "rate.yml"
    path.write_text(FILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(path.parent))
        yield path
    sandbox.end_jobs(f"training/{NAME}")
    sandbox.run(f"rm -rf {BASE} own_steps.py")


def jobs(cluster: Cluster) -> list[str]:
    """The runs of which Slurm knows a job, each as often as it has one."""
    names = cluster.run("sacct -X -n -P -o JobName%100 | sort", timeout=60).split()
    return [name for name in names if NAME in name]


def test_each_run_is_trained_once_whatever_happens_to_those_who_drive_it(
    sandbox: Cluster, file: Path
) -> None:
    command = [sys.executable, "-m", "mnrun", "sweep", str(file), "-i", "inventory/sandbox"]
    command += ["-e", json.dumps({"mnrun_base_dir": BASE})]
    with subprocess.Popen(command, cwd=ROOT) as driver:
        sandbox.wait("squeue --me -h -o %j; sacct -X -n -P -o JobName%100", NAME, timeout=200)
        driver.kill()
    # Two people at once.
    with subprocess.Popen(command, cwd=ROOT) as other:
        done = mnrun("sweep", str(file), mnrun_base_dir=BASE)
    assert (done.code, other.returncode) == (0, 0), done.text
    table = done.text.partition("RUN ")[2].splitlines()
    assert [row.split()[1:4] for row in table[1:3]] == [
        [rate, "sft", "2/2"] for rate in ("0.2", "0.1")
    ]
    sandbox.wait("squeue --me -h -o %j; echo end", "^end$")
    assert len(jobs(sandbox)) == len(set(jobs(sandbox))) == 2
    again = mnrun("sweep", str(file), mnrun_base_dir=BASE)
    assert again.code == 0
    assert again.text.count("  • ") == 2, again.text
    assert len(jobs(sandbox)) == 2


@pytest.mark.torture
def test_a_sweep_is_handed_over(sandbox: Cluster, file: Path) -> None:
    name = f"{NAME}-there"
    path = file.with_name("there.yml")
    path.write_text(FILE.replace(f"name: {NAME}", f"name: {name}"))
    given = mnrun("sweep", str(path), "--detach", mnrun_base_dir=BASE)
    assert given.code == 0, given.text
    ended = mnrun("attach", "--run", f"{name}-relay", mnrun_base_dir=BASE)
    assert ended.code == 0, ended.text
    table = mnrun("sweep", str(path), "--table", mnrun_base_dir=BASE)
    assert table.text.count(" 2/2 ") == 2, table.text
    sandbox.wait(f"squeue --me -h -o %j | grep {name}; echo end", "^end$")
    found = [job for job in jobs(sandbox) if f"{name}-rate" in job]
    assert len(found) == len(set(found)) == 2
    stopped = mnrun("sweep", str(path), "--cancel", mnrun_base_dir=BASE)
    assert stopped.code == 0, stopped.text
