"""Interfaces that a site names, looked at from a compute node: once, unless it is switched off."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Cluster
from .mnrun import mnrun

pytestmark = [pytest.mark.sandbox, pytest.mark.slurm]

BASE = "/home/mluser/test-probe"


def probes(sandbox: Cluster) -> int:
    return int(sandbox.run(f"ls {BASE}/probe/logs | wc -l"))


def test_an_interface_that_no_node_has_is_refused_before_anything_is_submitted(
    sandbox: Cluster,
) -> None:
    sandbox.run(f"rm -rf {BASE}")
    there = sandbox.run("ls /sys/class/net", "osk-gpu94").split()
    given: dict[str, Any] = {
        "mnrun_base_dir": BASE,
        "environment_variables": {"NCCL_SOCKET_IFNAME": "enp25s0np0"},
    }
    for _ in range(2):
        run = mnrun("preflight", **given)
        assert run.code == 1, run.text
        assert "NCCL_SOCKET_IFNAME is enp25s0np0, but osk-gpu9" in run.text
        assert all(name in run.text for name in there)
        assert probes(sandbox) == 1
    given["environment_variables"] = {"GLOO_SOCKET_IFNAME": there[0]}
    assert mnrun("preflight", **given).code == 0
    assert probes(sandbox) == 2
    given["environment_variables"] = {"GLOO_SOCKET_IFNAME": "eth9"}
    assert mnrun("preflight", **given, preflight_probe="false").code == 0
    assert probes(sandbox) == 2
