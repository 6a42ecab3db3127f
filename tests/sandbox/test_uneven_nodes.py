"""Nodes as sites have them: of different size, and with names that lead nowhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT, Cluster

pytestmark = [pytest.mark.sandbox, pytest.mark.slurm]

SCRIPT = ROOT / "tests" / "plays" / "golden" / "sft.sbatch"  # as tests/plays render it


def test_the_step_of_sft_has_all_cpus_of_nodes_that_differ(sandbox: Cluster) -> None:
    lines = SCRIPT.read_text()
    found = re.search(r"^unset SLURM_CPUS.*?(?=^    bash -c)", lines, re.MULTILINE | re.DOTALL)
    assert found
    step = shlex.quote(f"{found.group()}    printenv SLURM_CPUS_ON_NODE")
    # 64 CPUs of one node, and what is left of 100 of the other.
    submit = f"sbatch -W -N2 -n100 -o test-uneven.out --wrap {step}"
    sandbox.run(f"rm -f test-uneven.out; {submit}", timeout=120, check=False)
    out = sandbox.run("cat test-uneven.out; rm test-uneven.out")
    assert sorted(re.findall(r"(?m)^\d+$", out)) == ["36", "64"], out


@pytest.fixture
def nameless(sandbox: Cluster) -> Iterator[None]:
    """Only Slurm knows the compute nodes: their names lead to the loopback of whoever asks."""
    etc = sandbox.directory / "etc"
    hosts, conf = etc / "hosts", etc / "slurm" / "slurm.conf"
    kept = {path: path.read_text() for path in (hosts, conf)}
    _write(hosts, re.sub(r"(?m)^10\.94\.0\.9[45] ", "127.0.1.1 ", kept[hosts]))
    names = "NodeName=osk-gpu[94-95] NodeAddr=10.94.0.[94-95] "
    _write(conf, kept[conf].replace("NodeName=osk-gpu94,osk-gpu95 ", names))
    sandbox.run("scontrol reconfigure", "root@login")
    yield
    for path, text in kept.items():
        _write(path, text)
    sandbox.run("scontrol reconfigure", "root@login")


def _write(path: Path, text: str) -> None:
    """In place: the nodes have the file itself mounted."""
    with path.open("r+") as file:
        file.write(text)
        file.truncate()


@pytest.mark.torture
def test_ray_comes_up_and_gloo_connects_where_names_lead_to_the_loopback(
    new_run: Any, nameless: None
) -> None:
    run = new_run("nameless")
    run.play("start", ray_cluster_allreduce=1, ray_cluster_head_connection="srun")
    head = run.head()
    assert (head["ip"], head["interface"]) == ("10.94.0.94", "eth0")
    assert set(head["allreduce"]["nodes"]) == {"osk-gpu94", "osk-gpu95"}
