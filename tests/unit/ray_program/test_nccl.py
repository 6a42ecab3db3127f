"""What NCCL sends by: read from its log, and set where no one else did."""

from __future__ import annotations

from pathlib import Path

import cluster_nccl
import pytest
from cluster_nccl import SOCKETS, Transport

HEAD = "gpu1:150770:150790 [0] NCCL INFO "
SOCKET_LOG = f"""{HEAD}Bootstrap: Using eth0:10.0.0.1<0>
{HEAD}NET/IB : No device found.
{HEAD}NET/Socket : Using [0]eth0:10.0.0.1<0> [1]eth1:10.1.0.1<0>
{HEAD}Using network Socket
{HEAD}Channel 00/0 : 1[0] -> 0[0] [receive] via NET/Socket/0
"""
IB_LOG = f"""{HEAD}NET/IB : Using [0]mlx5_0:1/IB [1]mlx5_1:1/IB [RO]; OOB eth0:10.0.0.1<0>
{HEAD}Using network IB
{HEAD}Channel 00/0 : 1[0] -> 0[0] [receive] via NET/IB/0/GDRDMA
"""
MERGED = "NET/IB : Using [0]={[0] mlx5_0:1/RoCE, [1] mlx5_1:1/RoCE} [RO]; OOB eth0:10.0.0.1<0>"


@pytest.mark.parametrize(
    ("log", "found"),
    [
        (SOCKET_LOG, Transport("Socket", "sockets", ["eth0", "eth1"])),
        (IB_LOG, Transport("IB", "InfiniBand", ["mlx5_0", "mlx5_1"])),
        (IB_LOG.replace(":1/IB", ":1/RoCE"), Transport("IB", "RoCE", ["mlx5_0", "mlx5_1"])),
        (f"{HEAD}{MERGED}\n{HEAD}Using network IB\n",
         Transport("IB", "RoCE", ["mlx5_0", "mlx5_1"])),
        # Devices were found, but not used: the channels say it.
        (IB_LOG.replace("via NET/IB/0/GDRDMA", "via NET/Socket/0"),
         Transport("Socket", "sockets", [])),
        (f"{HEAD}Using network AWS Libfabric\n", Transport("AWS Libfabric", "AWS Libfabric", [])),
        (f"{HEAD}Channel 00/0 : 0[0] -> 1[1] via P2P/CUMEM\n", None),
        (f"rank 0 says: {HEAD}Using network IB\n", None),
        ("", None),
    ],
)  # fmt: skip
def test_the_transport_is_what_nccl_says_it_uses(log: str, found: Transport | None) -> None:
    assert cluster_nccl.transport(log) == found


def device(root: Path, name: str, state: str, link: str) -> None:
    port = root / name / "ports" / "1"
    port.mkdir(parents=True)
    (port / "state").write_text(f"{state}\n")
    (port / "link_layer").write_text(f"{link}\n")


def test_devices_count_when_a_port_is_active(tmp_path: Path) -> None:
    device(tmp_path, "mlx5_0", "4: ACTIVE", "InfiniBand")
    device(tmp_path, "mlx5_1", "1: DOWN", "InfiniBand")
    device(tmp_path, "mlx5_2", "4: ACTIVE", "Ethernet")
    found = cluster_nccl.active_devices(tmp_path)
    assert found == {"mlx5_0": "InfiniBand", "mlx5_2": "RoCE"}
    assert cluster_nccl.active_devices(tmp_path / "none") == {}


IB = {"mlx5_0": "InfiniBand"}


@pytest.mark.parametrize(
    ("env", "devices", "etc", "expected"),
    [
        ({}, {}, "", SOCKETS),
        ({"NCCL_DEBUG": "WARN"}, {}, "# NCCL_SOCKET_NTHREADS=1\nNCCL_IB_HCA=x\n", SOCKETS),
        ({"NCCL_IB_DISABLE": "1"}, IB, "", SOCKETS),
        ({"NCCL_NET": "Socket"}, IB, "", SOCKETS),
        ({}, IB, "NCCL_IB_DISABLE=1\n", SOCKETS),
        ({}, IB, "", {}),
        ({"NCCL_IB_DISABLE": "0"}, IB, "", {}),
        ({"NCCL_NET": "AWS Libfabric"}, {}, "", {}),
        ({"NCCL_SOCKET_NTHREADS": "1"}, {}, "", {}),
        ({"NCCL_NSOCKS_PERTHREAD": "8"}, {}, "", {}),
        ({}, {}, "NCCL_SOCKET_NTHREADS=2\n", {}),
        ({"NCCL_IB_DISABLE": "0"}, {}, "NCCL_NSOCKS_PERTHREAD = 2\r\n", {}),
    ],
)
def test_sockets_are_made_fast_only_where_the_site_leaves_it_open(
    tmp_path: Path, env: dict[str, str], devices: dict[str, str], etc: str, expected: object
) -> None:
    file = tmp_path / "nccl.conf"
    file.write_text(etc)
    assert cluster_nccl.socket_settings(env, "eth0", devices, file) == expected


@pytest.mark.parametrize("name", ["HOME", "NCCL_CONF_FILE"])
def test_a_users_own_file_counts_too(tmp_path: Path, name: str) -> None:
    file = tmp_path / ".nccl.conf"
    file.write_text("NCCL_SOCKET_NTHREADS=1\n")
    env = {name: str(tmp_path if name == "HOME" else file)}
    none = tmp_path / "none"
    assert cluster_nccl.socket_settings(env, "eth0", {}, none) == {}
    file.unlink()
    assert cluster_nccl.socket_settings(env, "eth0", {}, none) == SOCKETS


def test_the_environment_is_stronger_than_a_file(tmp_path: Path) -> None:
    (tmp_path / "conf").write_text("NCCL_IB_DISABLE=1\n")
    env = {"NCCL_IB_DISABLE": "0"}
    assert cluster_nccl.socket_settings(env, "eth0", IB, tmp_path / "conf") == {}


BY_SOCKETS = Transport("Socket", "sockets", ["eth0"])


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({}, "NCCL_IB_HCA (environment_variables)"),
        ({"NCCL_IB_DISABLE": "1"}, "NCCL_IB_DISABLE=1 is set: unset it"),
        ({"NCCL_NET": "Socket"}, "NCCL_NET=Socket is set: unset it"),
        ({"NCCL_IB_HCA": "mlx4"}, "NCCL_IB_HCA=mlx4 has to name one of them"),
    ],
)
def test_a_network_that_is_left_unused_is_named_with_what_to_set(
    env: dict[str, str], words: str
) -> None:
    said = cluster_nccl.missed(BY_SOCKETS, IB, env)
    assert said.startswith("NCCL uses sockets (eth0), although mlx5_0 (InfiniBand) is active")
    assert words in said


def test_nothing_is_missed_where_nothing_else_is_there() -> None:
    assert cluster_nccl.missed(BY_SOCKETS, {}, {}) == ""
    assert cluster_nccl.missed(Transport("IB", "InfiniBand", []), IB, {}) == ""
