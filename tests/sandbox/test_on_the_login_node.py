"""Installed on the login node, with the local connection that the site `osk` has: no ssh to it."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from .conftest import ROOT, Cluster
from .plays import result
from .test_closed_nodes import RAW, about, arguments

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(600)]

FOLDER = "login-node-test"
RUN = f"~/{FOLDER}-run"
SHORT = {
    "ppo_model": "~/model/Llama-3.2-1B-Instruct",
    "ppo_overrides": {
        "trainer.total_training_steps": 2,
        "trainer.val_before_train": False,
        "trainer.test_freq": -1,
    },
}


@pytest.fixture(scope="module")
def installed(sandbox: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The wheel in an environment of the cluster's user, and a site of theirs."""
    wheels = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(ROOT)]
    run(*build, "-o", str(wheels))
    home = sandbox.home / FOLDER
    shutil.rmtree(home, ignore_errors=True)
    run("/usr/bin/python3", "-m", "venv", str(home / "venv"))
    run(str(home / "venv/bin/pip"), "install", "--quiet", *map(str, wheels.glob("*.whl")))
    site = home / "site"
    shutil.copytree(ROOT / "inventory" / "sandbox" / "group_vars", site / "group_vars")
    shutil.copy(ROOT / "inventory" / "osk" / "hosts.yml", site)
    yield sandbox
    sandbox.run(f"rm -rf {RUN}")
    shutil.rmtree(home)


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=300)


def test_ppo_runs_and_runs_again_from_the_login_node(installed: Cluster) -> None:
    variables = shlex.quote(json.dumps({"mnrun_run_dir": RUN, **SHORT}))
    line = f"cd /tmp && ~/{FOLDER}/venv/bin/mnrun ppo -i ~/{FOLDER}/site -e {variables}"
    first = installed.run(line, timeout=300)
    assert "[ppo] Submitted job ppo-" in first, first
    assert "step 2/2" in first, first
    assert "Done: changed=0" in installed.run(line, timeout=60)
    live = "squeue --me -h -t pending,configuring,running -o %k"
    assert installed.run(f"{live} | grep -c {FOLDER}", check=False) == "0"


def test_a_new_site_made_there_passes_its_checks(installed: Cluster) -> None:
    program, site = f"~/{FOLDER}/venv/bin/mnrun", f"~/{FOLDER}-new"
    installed.run(f"rm -rf {site}")
    said = installed.run(f"cd /tmp && {program} init {site} --yes", timeout=120)
    assert f"/home/mluser/{FOLDER}-new (hosts.yml, group_vars/all.yml)" in said, said
    hosts = installed.run(f"cat {site}/hosts.yml")
    assert "ansible_connection: local" in hosts
    checked = installed.run(
        f"cd /tmp && {program} preflight -i {site} -e mnrun_base_dir={RUN}", timeout=120
    )
    assert "the options of sft and ppo, the Slurm requests of sft, ray and convert" in checked
    again = installed.run(f"cd /tmp && {program} init {site} --yes", check=False)
    assert "is there already, and is left as it is" in again
    installed.run(f"rm -rf {site}")


def test_a_step_on_the_head_through_srun(installed: Cluster) -> None:
    folder = f"/home/mluser/{FOLDER}"
    shutil.copy(RAW, installed.home / FOLDER)
    job = installed.submit("-N2 -o /dev/null", "--wrap='srun -N2 -n2 sleep 300'")
    installed.wait("squeue -s -h -o %i", rf"(?m)^{job}\.0", timeout=30)
    given = {"ansible_connection": "mnrun.train.srun_local", **about(job, "hostname; exit 4")}
    words = [f"{folder}/venv/bin/ansible-playbook", *arguments(f"{folder}/{RAW.name}", given)]
    said = installed.run(f"cd /tmp && {shlex.join(words)}", check=False)
    installed.run(f"scancel {job}")
    done = result(said)
    assert (done["rc"], done["stdout"].strip()) == (4, "osk-gpu95"), done
