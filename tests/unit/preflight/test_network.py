"""Networks that a site names, and those of a node."""

from __future__ import annotations

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.preflight.network import network_faults

FOUND = "node=n1\nnet=lo ib0 eno1np0 \ninfiniband=mlx5_0 mlx5_1 \n"


@pytest.mark.parametrize(
    ("name", "value", "there"),
    [
        ("NCCL_SOCKET_IFNAME", "ib0", True),
        ("NCCL_SOCKET_IFNAME", "eno", True),
        ("NCCL_SOCKET_IFNAME", "=eno", False),
        ("NCCL_SOCKET_IFNAME", "^lo,docker", True),
        ("NCCL_SOCKET_IFNAME", "eth0,ib", True),
        ("NCCL_SOCKET_IFNAME", "enp25s0np0", False),
        ("GLOO_SOCKET_IFNAME", "eno1np0", True),
        ("GLOO_SOCKET_IFNAME", "eno", False),
        ("NCCL_IB_HCA", "mlx5_0:1,mlx5_9", True),
        ("NCCL_IB_HCA", "=mlx5", False),
        ("NCCL_IB_HCA", "hfi1", False),
        ("NCCL_DEBUG", "INFO", True),
        ("NCCL_IB_HCA", "", True),
    ],
)
def test_a_name_that_no_node_has_is_a_fault(name: str, value: str, there: bool) -> None:
    faults = network_faults({name: value}, FOUND)
    assert len(faults) == (not there)
    assert all(f"{name} is {value}, but n1 has no such" in fault for fault in faults)


def test_an_image_that_a_node_cannot_run_is_a_fault() -> None:
    (fault,) = network_faults({}, f"{FOUND}image=mnrun: there is no apptainer on n1 \n")
    assert fault == "the image does not run on n1: mnrun: there is no apptainer on n1"
    assert network_faults({}, FOUND) == []


def test_what_was_not_seen_is_no_fault() -> None:
    assert network_faults({"NCCL_IB_HCA": "mlx5_0"}, "node=n1\nnet=lo\n") == []
    (fault,) = network_faults({"NCCL_IB_HCA": "mlx5_0"}, "node=n1\ninfiniband=\n")
    assert fault.endswith("it has: none")
