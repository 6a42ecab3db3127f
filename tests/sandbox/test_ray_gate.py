"""The gate of the Ray cluster, on a real Slurm: what keeps it from being up, and what is done."""

from __future__ import annotations

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
    run.play("stop")
    run.sandbox.run("rmdir /tmp/scr", "root@osk-gpu95")  # empty: nothing was left in it

    done = run.try_to("start", **alone)
    assert done.returncode == 2
    assert "osk-gpu95: Ray could not be started" in done.stdout  # the other one, at last
    jobs = run.run(f"grep -c '\"number\"' {run.folder}/.mnrun/ray/*/record.json")
    assert jobs == "4"  # and not for ever


def test_gpus_that_torch_does_not_see_are_named_on_every_node(new_run: Any) -> None:
    done = new_run("torch").try_to("start", ray_cluster_torch_check="always")
    assert done.returncode == 2
    for node in NODES:
        assert f"{node}: torch sees 0 GPUs, 2 expected." in done.stdout
