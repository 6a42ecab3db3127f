"""A site that closes ssh to its compute nodes: the steps on the head run through srun."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT, Cluster, playbook
from .mnrun import mnrun
from .place import beside
from .plays import play, result

pytestmark = [pytest.mark.sandbox, pytest.mark.slurm, pytest.mark.timeout(600)]

RUN = "/home/mluser/test-closed"


@pytest.fixture(scope="module")
def closed(sandbox: Cluster) -> Iterator[Cluster]:
    """A second sandbox whose compute nodes let nobody but root in, with the first one's training
    environment."""
    directory = beside("closed")
    directory.mkdir()
    (directory / "envs").symlink_to(sandbox.directory / "envs")
    sandbox_is = ["-i", "inventory/sandbox", "-e", f"sandbox_dir={directory}"]
    playbook("playbooks/sandbox_up.yml", *sandbox_is, "-e", '{"sandbox_ssh_to_nodes": false}')
    yield Cluster(directory)
    playbook("playbooks/sandbox_down.yml", *sandbox_is)
    (directory / "envs").unlink()
    subprocess.run(["rm", "-rf", directory], check=True)


def steps(closed: Cluster, *names: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    """Steps of ray.yml through srun, with ssh to the login node."""
    given = {
        "sandbox_dir": str(closed.directory),
        "ray_cluster_head_connection": "srun",
        "mnrun_run_dir": RUN,
        "steps": names,
        "way": "well",
        **variables,
    }
    return play("tests/sandbox/ray.yml", given)


def test_ssh_is_closed(closed: Cluster) -> None:
    said = closed.run("hostname", "osk-gpu94", check=False)
    assert "Permission denied" in said
    assert closed.run("hostname", "root@osk-gpu94") == "osk-gpu94"


def test_it_is_known_before_anything_is_submitted(closed: Cluster) -> None:
    folder = f"{RUN}-all"
    done = mnrun("all", sandbox_dir=str(closed.directory), mnrun_run_dir=folder)
    assert done.code != 0, done.text
    assert "set ray_cluster_head_connection: srun" in done.text
    assert "Permission denied" in done.text
    accounted = closed.wait("sacct -X -n -P -o JobName -S 2020-01-01", r"\S")  # after a while
    assert accounted == "mnrun-reach"
    closed.assert_none_queued()
    assert "sft" not in closed.run(f"ls {folder} {folder}/.mnrun", check=False)


def test_ray_job_runs_is_followed_and_taken_down(closed: Cluster) -> None:
    over_ssh = steps(closed, "start", "job", ray_cluster_head_connection="ssh")
    assert over_ssh.returncode != 0
    said = over_ssh.stdout + over_ssh.stderr
    assert "Permission denied" in said, said

    done = steps(closed, "start", "job")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\[ppo\] .* · step \d/3", done.stdout), done.stdout
    assert "SUCCEEDED · step 3/3" in done.stdout
    stopped = steps(closed, "stop")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    closed.assert_none_queued()
    line = "sacct -X -n -P -o JobName,State,NNodes -S 2020-01-01 | grep -v mnrun-reach"
    assert re.fullmatch(r"\S+\|COMPLETED\|2", closed.wait(line, r"\|COMPLETED"))


@pytest.fixture
def job(closed: Cluster) -> Iterator[str]:
    """A job whose one step has all that the job has, as a Ray cluster's does."""
    line = "srun -N2 -n2 --gpus-per-node=2 sleep 300"
    job = closed.submit("-N2 --gpus-per-node=2 --exclusive -o /dev/null", f"--wrap='{line}'")
    closed.wait("squeue -s -h -o %i", rf"(?m)^{job}\.0", timeout=30)
    yield job
    closed.run(f"scancel {job}")


def test_a_step_is_as_over_ssh_and_holds_nothing(closed: Cluster, job: str) -> None:
    line = "hostname; echo 'a \"b' >&2; exit 3"
    done = from_outside(closed, job, line)
    assert (done["rc"], done["stdout"].strip()) == (3, "osk-gpu95"), done
    assert done["stderr"].replace("Shared connection to login closed.", "").strip() == 'a "b'

    done = from_outside(closed, job, "scontrol show step $SLURM_JOB_ID.$SLURM_STEP_ID")
    assert "TRES=cpu=1," in done["stdout"]
    assert "gres" not in done["stdout"]
    assert sorted(closed.run("squeue -s -h -o %i").split()) == [f"{job}.0", f"{job}.batch"]

    closed.run(f"scancel {job}")
    closed.wait(f"squeue -h -j {job} -t R,CG", r"^$|Invalid")
    gone = from_outside(closed, job, "true")
    assert re.search(rf"Slurm job {job} is over \(CANCELLED\)", gone["msg"]), gone


RAW = ROOT / "tests" / "sandbox" / "files" / "srun_raw.yml"
CONFIG = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0"}


def about(job: str, line: str) -> dict[str, str]:
    return {"ansible_srun_job": job, "ansible_srun_node": "osk-gpu95", "line": line}


def arguments(playbook: str, given: dict[str, str]) -> list[str]:
    return [playbook, "-i", "there,", "-e", json.dumps(given)]


def from_outside(closed: Cluster, job: str, line: str) -> dict[str, Any]:
    """One line on the node, over ssh to the login node."""
    given = {
        "ansible_connection": "mnrun.train.srun",
        "ansible_host": "login",
        "ansible_ssh_common_args": f"-F {closed.directory}/ssh_config",
        "ansible_control_path_dir": f"~/.ansible/cp/{closed.directory.name}",
        **about(job, line),
    }
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), *arguments(str(RAW), given)],
        env={**os.environ, **CONFIG},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    answer: dict[str, Any] = result(done.stdout + done.stderr)
    return answer
