"""`mnrun gc`, as a user types it: what it finds on the cluster, and that it goes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, Cluster
from .mnrun import mnrun

pytestmark = [pytest.mark.sandbox, pytest.mark.slurm]

RUN = "/home/mluser/test-gc"
NODE = "osk-gpu95"
OLD = 999_999  # a job of long ago: none of this cluster has that number
FOLDER = f"/tmp/mnrun-{OLD}-abcdef"
LOST = f"mnrun run={RUN} stage=ray fp=0123456789ab attempt=1 token=abcdef"
# A Ray cluster's job as far as the ledger is concerned.
OPTIONS = {
    "run_dir": RUN, "stage": "ray", "name": "gc", "spec": {"a": 1}, "service": True, "wait": True,
    "script": "#!/bin/bash\ntrue\n", "sbatch": {"partition": "gpu", "nodes": 2},
}  # fmt: skip


def a_run_with_a_record() -> None:
    program = str(Path(sys.executable).with_name("ansible"))
    command = [program, "login", "-i", "inventory/sandbox", "-m", "mnrun.train.slurm_job", "-a"]
    done = subprocess.run(
        [*command, json.dumps(OPTIONS)],
        cwd=ROOT, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slurm_core
def test_what_belongs_to_no_living_run_is_found_and_goes(sandbox: Cluster) -> None:
    sandbox.run(f"rm -rf {RUN}")
    a_run_with_a_record()
    old = f"mkdir -p -m 700 {FOLDER}/ray; touch -d '1 hour ago' {FOLDER}"
    sandbox.run(old, NODE)
    sandbox.run(f"cd {RUN}/.mnrun/ray/[0-9a-f]*/ && echo secret > token-{OLD}")
    stray = sandbox.submit(f"--output=/dev/null --comment='{LOST}' --wrap='sleep 600'")
    own = sandbox.submit("--output=/dev/null --wrap='sleep 600'")
    elsewhere = LOST.replace(RUN, "/home/mluser/not-mounted-here")
    unseen = sandbox.submit(f"--output=/dev/null --comment='{elsewhere}' --wrap='sleep 600'")

    found = mnrun("gc", mnrun_run_dir=RUN, mnrun_gc_end="false")  # a text, as of -e name=value
    assert found.code == 0, found.text
    expected = [
        f"job {stray}: its run {RUN} has no record of it",
        f"token-{OLD}: job {OLD} is over",
        f"folder {FOLDER} on {NODE}: its job is dead",
        "Dry run, nothing was removed. To remove them, add: --end",
    ]
    assert [line for line in expected if line not in found.text] == [], found.text
    assert sandbox.run(f"squeue -h -o %T -j {stray}") == "RUNNING"

    ended = mnrun("gc", "--end", mnrun_run_dir=RUN)
    assert "All of them were removed." in ended.text
    assert f"left alone: job {unseen}: the records of its run" in ended.text
    assert {*sandbox.run("squeue -h --me -o %i").split()} == {own, unseen}
    assert "No such file" in sandbox.run(f"ls {FOLDER}", NODE, check=False)
    assert "Nothing is left over." in mnrun("gc", "--end", mnrun_run_dir=RUN).text
    sandbox.run(f"scancel {own} {unseen}; rm -rf {RUN}")
