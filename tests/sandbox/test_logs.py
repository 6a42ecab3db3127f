"""`mnrun logs` on jobs that write nothing, too much, and to both of their logs."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT, Cluster
from .plays import play

pytestmark = [pytest.mark.sandbox, pytest.mark.slurm]

PLAY = Path(__file__).parent / "files" / "slurm_job.yml"
FAST = """\
#!/bin/bash
echo begun
until [ -e go ]; do sleep 0.2; done
python3 - <<'END'
import sys, time
begun = time.monotonic()
for n in range(1, 100001):
    print(f"line {n} " + "x" * 60)
    if n % 500 == 0:
        sys.stdout.flush()
        time.sleep(max(0, begun + n / 10000 - time.monotonic()))
print("the last one, without an end", end="")
END
"""
BOTH = "#!/bin/bash\necho 'a warning' >&2\necho 'step:1 - train/loss:1.0'\n"


@pytest.fixture
def folder(sandbox: Cluster) -> Iterator[str]:
    name = f"tests/logs-{time.time_ns()}"
    yield f"/home/mluser/{name}"
    sandbox.end_jobs(name)
    sandbox.run(f"rm -rf {name}")


def submit(folder: str, script: str, **sbatch: Any) -> None:
    options = {
        "run_dir": folder,
        "stage": "sft",
        "name": "test_logs",
        "script": script,
        "sbatch": {"nodes": 1, "time": 5, **sbatch},
        "output": f"{folder}/logs/%x-%j.out",
        "error": f"{folder}/logs/%x-%j.err",
        "directories": [f"{folder}/logs"],
        "spec": {"lr": 0.1},
    }
    done = play(PLAY, {"calls": [{"options": options}]})
    assert done.returncode == 0, done.stdout + done.stderr


def logs(folder: str, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mnrun", "logs", "sft", *words, "-i", "inventory/sandbox"]
    return subprocess.Popen(
        [*command, "-e", f"mnrun_run_dir={folder}"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.torture
def test_a_job_that_writes_faster_than_anyone_reads_is_followed_to_its_last_line(
    sandbox: Cluster, folder: str
) -> None:
    submit(folder, FAST)
    process = logs(folder, "-f")
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    sandbox.run(f"touch {folder}/go")
    out, notes = process.communicate(timeout=200)
    assert process.returncode == 0, notes
    lines = out.splitlines()
    assert lines[-2].startswith("line 100000 ")
    assert lines[-1] == "the last one, without an end"
    numbers = [int(line.split()[1]) for line in lines[:-1]]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 100000 or re.search(r"MB skipped; all of it: /home", notes)


def test_a_job_that_waits_says_so_and_its_output_stays_empty(folder: str) -> None:
    submit(folder, BOTH, hold=True)
    process = logs(folder)
    out, notes = process.communicate(timeout=100)
    assert (process.returncode, out) == (0, "")
    assert re.search(r"Nothing in its log yet: job \d+ PENDING \(JobHeldUser\)", notes)


def test_the_training_s_own_log_comes_last(sandbox: Cluster, folder: str) -> None:
    submit(folder, BOTH)
    sandbox.wait(f"ls {folder}/.mnrun/sft/*", r"end-1\.json", timeout=60)
    out, notes = logs(folder).communicate(timeout=100)
    assert out.splitlines() == ["a warning", "step:1 - train/loss:1.0"]
    headers = [line[-8:] for line in notes.splitlines() if line.startswith("==> ")]
    assert headers == [".err <==", ".out <=="]
