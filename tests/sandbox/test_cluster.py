"""The sandbox is a real cluster: jobs, accounting, GPUs, ssh, modules."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from .conftest import Cluster, playbook

pytestmark = pytest.mark.sandbox

NODES = ("osk-gpu94", "osk-gpu95")
BOTH = "--nodes=2 --gpus-per-node=8"


def test_up_again_changes_nothing(sandbox: Cluster) -> None:
    output = playbook("playbooks/sandbox_up.yml", "-i", "inventory/sandbox")
    assert " changed=0 " in output


def test_status_says_how_to_reach_it(sandbox: Cluster) -> None:
    output = playbook("playbooks/sandbox_status.yml", "-i", "inventory/sandbox")
    assert f"The sandbox in {sandbox.directory} is up." in output
    assert f"ssh -F {sandbox.directory}/ssh_config login" in output


@pytest.mark.slurm
@pytest.mark.slurm_core
def test_every_program_is_of_the_version_that_status_names(sandbox: Cluster) -> None:
    status = playbook("playbooks/sandbox_status.yml", "-i", "inventory/sandbox")
    found = re.search(r"Slurm (\d+\.\d+\.\d+)", status)
    assert found, status
    wanted = os.environ.get("MNRUN_SANDBOX_SLURM", "")
    assert found[1].startswith(wanted) or not wanted[:1].isdigit()
    line = "for name in sbatch squeue srun scontrol sacct scancel sinfo; do $name --version; done"
    for node in ("login", *NODES):
        assert {*sandbox.run(line, node).splitlines()} == {f"slurm-wlm {found[1]}"}
    assert found[1] in sandbox.run("scontrol show config | grep ^SLURM_VERSION")
    assert f"Version={found[1]} " in sandbox.run(f"scontrol show node -o {NODES[0]}") + " "


@pytest.mark.slurm
@pytest.mark.slurm_core
def test_a_step_runs_on_both_nodes_with_their_gpus(sandbox: Cluster) -> None:
    line = 'echo "$(hostname) $(hostname -i) $SLURM_GPUS_ON_NODE $CUDA_VISIBLE_DEVICES"'
    output = sandbox.run(f"srun {BOTH} bash -c '{line}'")
    assert sorted(output.splitlines()) == [
        "osk-gpu94 10.94.0.94 8 0,1,2,3,4,5,6,7",
        "osk-gpu95 10.94.0.95 8 0,1,2,3,4,5,6,7",
    ]


@pytest.mark.slurm
@pytest.mark.slurm_core
def test_accounting_knows_a_job(sandbox: Cluster) -> None:
    # slurmctld reports a job's start every five seconds; of a shorter one sacct says user root.
    job = sandbox.submit(BOTH, "--comment='a b'", "--output=/dev/null", "--wrap='srun sleep 6'")
    asked = f"sacct -X -n -P -j {job} -o State,NodeList,Comment,User,AllocTRES"
    line = sandbox.wait(asked, "COMPLETED")
    assert line.startswith("COMPLETED|osk-gpu[94-95]|a b|mluser|")
    assert "gres/gpu=16" in line


@pytest.mark.slurm
@pytest.mark.slurm_core
def test_scancel_ends_what_a_job_sent_to_the_background(sandbox: Cluster) -> None:
    daemon = "setsid --fork sleep 54321; sleep 600"
    job = sandbox.submit(BOTH, "--output=/dev/null", f"--wrap='srun bash -c \"{daemon}\"'")
    for node in NODES:
        sandbox.wait(f"ssh {node} pgrep -fxc sleep.54321", "^1$")
    sandbox.run(f"scancel {job}")
    for node in NODES:
        sandbox.wait(f"ssh {node} pgrep -fxc sleep.54321", "^0$", timeout=30)
    sandbox.wait(f"squeue -h -j {job} -o %T", "^$", timeout=30)


def test_each_node_has_its_own_and_they_share_home(sandbox: Cluster) -> None:
    sandbox.run("touch /tmp/mine /dev/shm/mine ~/.ours", node="osk-gpu94")
    seen = sandbox.run("ls /tmp/mine /dev/shm/mine ~/.ours 2>/dev/null", "osk-gpu95", check=False)
    assert seen == "/home/mluser/.ours"
    sandbox.run("rm /tmp/mine /dev/shm/mine ~/.ours", node="osk-gpu94")
    assert "slurmctld" not in sandbox.run("ps -e -o comm=", node="osk-gpu94")


def test_nothing_can_write_to_the_machine(sandbox: Cluster) -> None:
    for node in ("root@login", "root@osk-gpu94"):
        output = sandbox.run("touch /usr/x /etc/x /opt/x; id -u", node=node)
        assert output.count("Read-only file system") == 3
        assert output.endswith("0")


def test_the_user_reaches_all_nodes_without_a_prompt(sandbox: Cluster) -> None:
    for node in NODES:
        assert sandbox.run(f"ssh -o BatchMode=yes {node} hostname; whoami") == f"{node}\nmluser"
        assert sandbox.run("hostname; whoami", node=node) == f"{node}\nmluser"


def test_a_wrong_host_key_is_refused(sandbox: Cluster) -> None:
    lines = (sandbox.directory / "known_hosts").read_text().splitlines()
    login = next(line for line in lines if line.startswith("login,"))
    other = next(line for line in lines if line.startswith("osk-gpu94,"))
    wrong = sandbox.directory / "home" / "appli" / "known_hosts.test"
    wrong.write_text(f"{login.split()[0]} {other.split(maxsplit=1)[1]}\n")
    config = ["-F", str(sandbox.directory / "ssh_config"), "-o", f"UserKnownHostsFile={wrong}"]
    done = subprocess.run(
        ["ssh", *config, "login", "true"], capture_output=True, text=True, timeout=30, check=False
    )
    wrong.unlink()
    assert done.returncode == 255
    assert "Host key verification failed" in done.stderr


MODULES = "nccl/2.22.3 hpcx/2.18.1-gcc-cuda12/hpcx-mt miniconda/24.7.1-py311"
LOADED = f'module reset; module load {MODULES}; echo "$NCCL_ROOT $HPCX_HOME $CONDA_ROOT"'
PLACES = (
    "/home/appli/nccl/2.22.3 /home/appli/hpcx/2.18.1-gcc-cuda12 /home/appli/miniconda3/24.7.1-py311"
)


def test_module_is_there_as_on_a_real_site(sandbox: Cluster) -> None:
    assert "module: command not found" in sandbox.run("module list", check=False)
    assert sandbox.run(f"bash -lc '{LOADED}'").splitlines()[-1] == PLACES
    assert sandbox.run(f". /etc/profile.d/modules.sh; {LOADED}").splitlines()[-1] == PLACES


def test_lmod_finds_the_same_modules(sandbox: Cluster, lmod_init: str) -> None:
    output = sandbox.run(f". {lmod_init}; module --version; {LOADED}")
    assert "Modules based on Lua" in output
    assert PLACES in output


HOOK = ". /home/appli/miniconda3/24.7.1-py311/etc/profile.d/conda.sh"


def test_the_conda_stand_in_follows_the_rules_of_the_hook(sandbox: Cluster) -> None:
    line = f"{HOOK}; conda activate ~/conda_env && which python && echo $CONDA_PREFIX"
    line += "; conda deactivate; which python3; echo [$CONDA_PREFIX]"
    link = "/home/mluser/conda_env"
    assert sandbox.run(line).splitlines() == [f"{link}/bin/python", link, "/usr/bin/python3", "[]"]
    missing = sandbox.run(f"{HOOK}; conda activate ~/nowhere || echo code $?")
    assert missing.startswith("EnvironmentLocationNotFound: Not a conda environment: /home/mluser")
    assert missing.endswith("code 1")


def test_conda_env_create_makes_an_environment(sandbox: Cluster) -> None:
    sandbox.run("printf 'dependencies:\\n  - python=3.11\\n  - pip:\\n' > ~/e.yml")
    sandbox.run(f"{HOOK}; conda env create --prefix ~/e --file ~/e.yml", "osk-gpu94")
    assert sandbox.run(f"{HOOK}; conda activate ~/e; which python") == "/home/mluser/e/bin/python"
    again = sandbox.run(f"{HOOK}; conda env create -p ~/e -f ~/e.yml || echo no", check=False)
    sandbox.run("rm -r ~/e ~/e.yml")
    assert again.endswith("no")
