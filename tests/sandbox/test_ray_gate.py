"""The gate of the Ray cluster, on a real Slurm: what keeps it from being up, and what is done."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from .ray_runs import NODES

pytestmark = [pytest.mark.sandbox, pytest.mark.slurm]


def test_a_node_at_fault_is_left_out_when_another_is_free(new_run: Any) -> None:
    run = new_run("spare")
    # The scratch folder is missing on one node, as on a node that was set up again in a hurry.
    run.sandbox.run("mkdir -p -m 1777 /tmp/scr", "root@osk-gpu95")
    alone = {"mnrun_nodes": 1, "mnrun_nodelist": "", "ray_cluster_temp_dir": "/tmp/scr"}
    said = run.play("start", **alone)
    assert "osk-gpu94: Ray could not be started: [Errno 2] No such file or directory" in said
    assert "Other nodes are free, so it is started once more without osk-gpu94." in said
    assert run.head()["nodes"] == ["osk-gpu95"]
    run.signal_stop()
    run.sandbox.run("rmdir /tmp/scr", "root@osk-gpu95")  # empty: nothing was left in it

    done = run.try_to("start", **alone)
    assert done.returncode == 2
    assert "osk-gpu95: Ray could not be started" in done.stdout  # the other one, at last
    jobs = run.run(f"grep -c '\"number\"' {run.folder}/.mnrun/ray/*/record.json")
    assert jobs == "4"  # and not for ever


# The raylet has the words of its agents among its own: the second that has them is the agent.
_SLOW = (
    "for n in $(seq 600); do p=$(pgrep -f '[d]ashboard/agent.py' | sed -n 2p); [ $p ] && break; "
    "sleep 0.1; done; kill -STOP $p; sleep 20; kill -CONT $p && echo slowed"
)


@pytest.mark.torture
def test_an_agent_that_takes_longer_than_rays_own_limit(new_run: Any) -> None:
    """Of 15 s, after which the raylet ended: as on a node under load."""
    run = new_run("slow-agent")
    with ThreadPoolExecutor() as pool:
        slowed = pool.submit(run.sandbox.run, _SLOW, "root@osk-gpu94", 120)
        run.play("start", "job", ray_cluster_relaunches=0)
        assert slowed.result() == "slowed"


def test_gpus_that_torch_does_not_see_are_named_on_every_node(new_run: Any) -> None:
    done = new_run("torch").try_to("start", ray_cluster_torch_check="always")
    assert done.returncode == 2
    for node in NODES:
        assert f"{node}: torch sees 0 GPUs, 2 expected." in done.stdout
