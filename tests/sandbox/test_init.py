"""`mnrun init` on the real small cluster: what it writes passes the checks."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from .conftest import ROOT, Cluster, spoken

pytestmark = [pytest.mark.sandbox, pytest.mark.slurm, pytest.mark.timeout(600)]

OTHER = "init-site"


def mnrun(*words: str | Path) -> str:
    """Run it with a site that is no inventory of ours; return what it printed."""
    done = spoken([sys.executable, "-m", "mnrun", *words], 240, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_from_a_laptop_the_site_passes_its_checks(sandbox: Cluster, tmp_path: Path) -> None:
    ssh = f"ansible_ssh_common_args={shlex.quote(f'-F {sandbox.directory}/ssh_config')}"
    site = tmp_path / "site"
    printed = mnrun("init", site, "--yes", "--login", "login", "-e", ssh)
    assert f"export MNRUN_INVENTORY={site}" in printed
    values = yaml.safe_load((site / "group_vars/all.yml").read_text())
    assert (values["mnrun_partition"], values["mnrun_nodes"], values["mnrun_gpus_per_node"]) == (
        "gpu", 2, 8,
    )  # fmt: skip
    # Its folder was compared with a node's, and ssh reached the node.
    assert values["mnrun_base_dir"] == "~/training/multinode"
    text = (site / "group_vars/all.yml").read_text()
    assert re.search(r"# found: compute nodes have the same /home/mluser .*\nmnrun_base_dir", text)
    assert "# found: ssh reached a node with your job on it" in text
    sandbox.assert_none_queued()
    checked = mnrun("preflight", "-i", site, "-e", f"mnrun_base_dir=~/{OTHER}")
    assert "the options of sft and ppo, the Slurm requests of sft, ray and convert" in checked
    planned = mnrun("plan", "-i", site, "-e", f"mnrun_base_dir=~/{OTHER}")
    assert "2 x 8 GPUs" in planned
    sandbox.run(f"rm -rf ~/{OTHER}")


@pytest.fixture
def foreign(sandbox: Cluster) -> Iterator[None]:
    """The same nodes in other partitions: the default one is for tries, the other is small."""
    create = "scontrol create PartitionName={} Nodes=osk-gpu[94-95] State=UP"
    limits = "MaxTime=12:00:00 DefaultTime=10:00 MaxNodes=1"
    sandbox.run(f"{create.format('accel')} {limits}", "root@login")
    sandbox.run(f"{create.format('tries')} MaxTime=30:00 Default=YES", "root@login")
    sandbox.run("scontrol delete PartitionName=gpu", "root@login")
    yield
    sandbox.run("scontrol reconfigure", "root@login")
    sandbox.wait("sinfo -h -o %R", r"(?m)^gpu$", timeout=30)


@pytest.mark.usefixtures("foreign")
def test_a_cluster_with_other_names_and_limits(sandbox: Cluster, tmp_path: Path) -> None:
    ssh = f"ansible_ssh_common_args={shlex.quote(f'-F {sandbox.directory}/ssh_config')}"
    site = tmp_path / "site"
    mnrun("init", site, "--yes", "--no-job", "--login", "login", "-e", ssh)
    text = (site / "group_vars/all.yml").read_text()
    values = yaml.safe_load(text)
    assert (values["mnrun_partition"], values["mnrun_nodes"]) == ("accel", 1)
    assert values["sft_sbatch"]["time"] == "0-12:00:00"
    assert "# GUESS: no compute node was looked at" in text
    asked = "".join(f" --{name}={value}" for name, value in values["sft_sbatch"].items())
    request = f"--partition=accel --nodes=1 --gpus-per-node={values['mnrun_gpus_per_node']}{asked}"
    sandbox.run(f"sbatch --test-only {request} --wrap true")
