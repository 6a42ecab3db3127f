"""Clusters that hide their nodes, or lift limits by a QOS: what sbatch takes is not refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from .conftest import Cluster
from .mnrun import mnrun

pytestmark = [pytest.mark.sandbox, pytest.mark.slurm]

ROOT = "root@login"
RUN = "/home/mluser/test-may-see"


@pytest.fixture
def setting(sandbox: Cluster) -> Iterator[Callable[[str], None]]:
    """Add a line to slurm.conf until the end of the test."""
    conf = sandbox.directory / "etc" / "slurm" / "slurm.conf"
    before = conf.read_text()

    def add(line: str) -> None:
        conf.write_text(f"{before}\n{line}\n")
        sandbox.run("scontrol reconfigure", ROOT)

    yield add
    conf.write_text(before)
    sandbox.run("scontrol reconfigure", ROOT)
    sandbox.wait("sinfo -a -h -N -o %N", "osk-gpu94")


@pytest.mark.slurm_core
def test_a_cluster_that_hides_its_nodes_can_be_used(
    sandbox: Cluster, setting: Callable[[str], None]
) -> None:
    setting("PrivateData=nodes")
    sandbox.wait("sinfo -a -h -N -o %N || true", r"\A\Z|denied")
    run = mnrun("preflight", mnrun_run_dir=RUN)
    assert run.code == 0, run.text
    assert "does not show its partitions and nodes to you" in run.text
    refused = mnrun("preflight", mnrun_run_dir=RUN, mnrun_gpus_per_node=9)
    assert refused.code == 1
    assert "Requested node configuration is not available" in refused.text


def test_what_a_qos_lifts_is_not_refused_and_an_unknown_feature_is(sandbox: Cluster) -> None:
    long = "-i add qos long Flags=PartitionTimeLimit"
    sandbox.run(f"sacctmgr {long} || true", ROOT)
    try:
        over = mnrun("preflight", mnrun_run_dir=RUN, mnrun_sbatch={"time": "9-0"})
        assert "your QOS allows it" in over.text
        named = {"time": "9-0", "qos": "long"}
        assert "the qos long allows it" in mnrun(
            "preflight", mnrun_run_dir=RUN, mnrun_sbatch=named).text  # fmt: skip
    finally:
        sandbox.run("sacctmgr -i delete qos long", ROOT)
    wrong = mnrun("preflight", mnrun_run_dir=RUN, mnrun_sbatch={"constraint": "a100"})
    assert wrong.code == 1
    assert "Invalid feature specification" in wrong.text
    assert "--constraint=a100" in wrong.text
