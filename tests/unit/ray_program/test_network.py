"""The network, as the Ray cluster's programs see it: ports, addresses, interfaces."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import cluster_bandwidth
import cluster_interface
import cluster_nccl
import cluster_net
import cluster_node
import pytest

from tests.helpers.cluster_plan import make_plan

# ports and addresses


def test_two_clusters_never_reserve_one_port() -> None:
    with cluster_net.reserve_port() as first:
        wanted = first.getsockname()[1]
        with cluster_net.reserve_port(wanted) as second:
            assert second.getsockname()[1] != wanted
    with cluster_net.reserve_port(wanted) as again:
        assert again.getsockname()[1] == wanted


def test_a_server_can_take_the_port_that_is_reserved_for_it() -> None:
    with cluster_net.reserve_port() as holder:
        port = holder.getsockname()[1]
        for address in ("127.0.0.1", "0.0.0.0"):  # noqa: S104
            with socket.socket() as server:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Ray's do
                server.bind((address, port))
                server.listen()


def test_a_port_somebody_listens_on_is_passed_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        with cluster_net.reserve_port(taken) as holder:
            assert holder.getsockname()[1] not in {0, taken}


def test_a_reserved_port_is_not_handed_to_children() -> None:
    with cluster_net.reserve_port() as holder:
        assert not holder.get_inheritable()


def test_the_address_is_the_one_that_the_peer_is_reached_from() -> None:
    assert cluster_net.address_towards("127.0.0.1") == "127.0.0.1"


def test_a_dashboard_that_does_not_answer(tmp_path: Path) -> None:
    dashboard = cluster_net.Dashboard(9, tmp_path / "token")
    with pytest.raises(cluster_net.NoAnswerError, match="token"):
        dashboard.jobs()
    (tmp_path / "token").write_text("t0ken")
    with pytest.raises(cluster_net.NoAnswerError) as error:
        dashboard.jobs()
    assert "GET /api/jobs/" in str(error.value)
    assert "t0ken" not in str(error.value)


@pytest.mark.parametrize(("code", "is_open"), [(200, True), (401, False), (403, False)])
def test_whether_a_dashboard_is_open_to_everybody(tmp_path: Path, code: int, is_open: bool) -> None:
    with _answering(code) as port:
        assert cluster_net.Dashboard(port, tmp_path / "token").is_open() is is_open


def test_a_dashboard_that_fails_does_not_pass_for_closed(tmp_path: Path) -> None:
    with _answering(503) as port, pytest.raises(cluster_net.NoAnswerError, match="503"):
        cluster_net.Dashboard(port, tmp_path / "token").is_open()


@contextmanager
def _answering(code: int) -> Iterator[int]:
    """The port of a server that gives every request this answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert "Authorization" not in self.headers
            self.send_response(code)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Keep quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        yield server.server_address[1]
        thread.join(5)


# the network

THERE = {"lo": "127.0.0.1", "eth0": "10.0.0.1", "ib0": "10.1.0.1", "ib1": "10.1.1.1"}


@pytest.mark.parametrize(
    ("wanted", "hint", "name", "why"),
    [
        ("ib1", "ib0", "ib1", "ray_cluster_interface"),
        ("", "ib0", "ib0", "NCCL_SOCKET_IFNAME"),
        ("", "=ib0", "ib0", "NCCL_SOCKET_IFNAME"),
        ("", "eth", "eth0", "NCCL_SOCKET_IFNAME"),
        ("", "ib", "lo", "the route to 127.0.0.1"),  # two: not clear
        ("", "=ib", "lo", "the route to 127.0.0.1"),
        ("", "^eth0", "lo", "the route to 127.0.0.1"),
        ("", "lo", "lo", "the route to 127.0.0.1"),
        ("", "bond0", "lo", "the route to 127.0.0.1"),
        ("", "", "lo", "the route to 127.0.0.1"),
    ],
)
def test_the_interface_is_named_or_found_by_rule(
    wanted: str, hint: str, name: str, why: str
) -> None:
    chosen = cluster_interface.choose(wanted, hint, "127.0.0.1", THERE)
    assert (chosen.name, chosen.address, chosen.why) == (name, THERE[name], why)


def test_this_machines_interfaces() -> None:
    assert cluster_interface.interfaces()["lo"] == "127.0.0.1"


def test_nodes_with_a_slow_network_are_named() -> None:
    rates = {"all": 9.5, "nodes": {"a": 180.5, "b": 9.5, "c": 180}}
    assert list(cluster_bandwidth.slow_nodes(rates, 100)) == ["b"]
    assert cluster_bandwidth.slow_nodes(rates, 0) == {}
    shown = cluster_bandwidth.described(rates, "sockets (eth0)")
    assert "9.5 GB/s over all ranks by sockets (eth0); by node: a 180.5, b 9.5, c 180" in shown


# addresses


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What resolves on this node; Slurm shows NodeAddr=ib-n2 for n2."""
    known: dict[str, str] = {}

    def resolve(name: str, *_: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        if name not in known:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_DGRAM, 0, "", (known[name], 0))]

    shown = "NodeName=n2 Arch=x86_64 NodeAddr=ib-n2 NodeHostName=n2-host Version=22.05"
    answer = SimpleNamespace(stdout=shown.encode())
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known


def test_slurm_knows_a_nodes_address_better_than_its_name(names: dict[str, str]) -> None:
    names.update({"n2": "192.168.0.2", "ib-n2": "10.0.0.2"})
    assert cluster_net.address_of("n2") == "10.0.0.2"
    assert cluster_net.address_of("10.9.9.9") == "10.9.9.9"


def test_a_name_that_leads_to_the_loopback_is_none(names: dict[str, str]) -> None:
    names.update({"ib-n2": "127.0.1.1", "n2-host": "10.0.0.3"})
    assert cluster_net.address_of("n2") == "10.0.0.3"


def test_a_node_without_an_address_is_named_with_all_that_was_tried(names: dict[str, str]) -> None:
    names["n2-host"] = "127.0.1.1"
    with pytest.raises(OSError, match="no address of the node n2 is known on") as caught:
        cluster_interface.choose("", "", "n2")
    assert "n2: Name or service not known" in str(caught.value)
    assert "n2-host: 127.0.1.1, which is this node's own loopback" in str(caught.value)
    assert "ray_cluster_interface" in str(caught.value)


def test_gloo_takes_the_same_interface_unless_the_user_names_one() -> None:
    plan = make_plan(ip="127.0.0.1", network="eth7")
    assert cluster_node.ray_environment(plan, {})["GLOO_SOCKET_IFNAME"] == "lo"
    head = {"SLURMD_NODENAME": plan.head}
    assert cluster_node.ray_environment(plan, head)["GLOO_SOCKET_IFNAME"] == "eth7"
    given = {**head, "GLOO_SOCKET_IFNAME": "eth1"}
    assert cluster_node.ray_environment(plan, given)["GLOO_SOCKET_IFNAME"] == "eth1"


def test_ray_has_nccl_send_by_more_sockets_on_several_nodes_with_gpus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan, env = make_plan(ip="127.0.0.1", network="eth7"), {"SLURM_NNODES": "2"}
    monkeypatch.setattr(cluster_nccl, "active_devices", dict)
    monkeypatch.setattr(cluster_nccl, "are_expected", lambda: True)
    assert cluster_node.ray_environment(plan, env)["NCCL_SOCKET_NTHREADS"] == "4"
    for changed in ({}, {**env, "NCCL_NSOCKS_PERTHREAD": "2"}):
        assert "NCCL_SOCKET_NTHREADS" not in cluster_node.ray_environment(plan, changed)
    monkeypatch.setattr(cluster_nccl, "are_expected", lambda: False)
    assert "NCCL_SOCKET_NTHREADS" not in cluster_node.ray_environment(plan, env)
