"""How `ray start` is made sooner, and that every Ray starts all the same."""

from __future__ import annotations

import socket
import sys
import threading
import time
from types import ModuleType, SimpleNamespace
from typing import Any

import cluster_ray
import pytest


class Kept(dict[bytes, bytes]):
    """The GCS's store, and which nodes it knows."""

    def __init__(self, heads_after: int = 0) -> None:
        super().__init__()
        self.looks = 0
        self._heads_after = heads_after

    def internal_kv_put(self, key: bytes, value: bytes, overwrite: bool, space: bytes) -> None:
        assert overwrite
        self[space + b"/" + key] = value

    def get_all_node_info(self, timeout: float, node_selectors: list[str]) -> dict[str, str]:
        assert timeout > 0
        assert node_selectors == ["the head"]
        self.looks += 1
        return {"id": "head"} if self.looks > self._heads_after else {}


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Ray's module `node`, as far as the hook looks at it: it writes down what it is asked to do.

    `done` has the steps that Ray itself has done, each with what there was to see at that moment.
    """
    module: Any = ModuleType("ray._private.node")
    module.done = []
    module.gcs = Kept()

    class Node:
        gcs_address = "127.0.0.1:1"
        _ray_params = SimpleNamespace(dashboard_host="127.0.0.1", dashboard_port=8265)

        def get_gcs_client(self) -> Kept:
            gcs: Kept = module.gcs
            return gcs

        def start_api_server(self, *, include_dashboard: bool) -> str:
            module.done.append(("dashboard", include_dashboard, dict(module.gcs)))
            return "started"

        def _init_gcs_client(self) -> None:
            module.done.append(("gcs", _listens(self.gcs_address)))

    def get_all_node_info_until_retrieved(gcs: Kept, **options: Any) -> int:
        module.done.append(("head", options))
        return gcs.looks

    module.Node = Node
    module.get_all_node_info_until_retrieved = get_all_node_info_until_retrieved
    constants: Any = ModuleType("ray._private.ray_constants")
    constants.DASHBOARD_ADDRESS, constants.KV_NAMESPACE_DASHBOARD = "dashboard", b"space"
    inner: Any = ModuleType("ray._private")
    inner.node, inner.ray_constants = module, constants
    for name, one in {"ray": ModuleType("ray"), "ray._private": inner}.items():
        monkeypatch.setitem(sys.modules, name, one)
    monkeypatch.setattr(cluster_ray, "_PATIENCE", 20.0)
    ray_node: ModuleType = module
    return ray_node


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return False
    return True


def import_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Import the other commands as Ray does, where the program has left them out."""
    for name in cluster_ray._OTHER_COMMANDS:
        monkeypatch.setitem(sys.modules, name, cluster_ray.LeftOut(name))
        with pytest.raises(ImportError):
            exec(f"from {name} import commands")  # noqa: S102 - a name of our own


def call(monkeypatch: pytest.MonkeyPatch, head: bool) -> SimpleNamespace:
    """Call the hook as Ray does."""
    monkeypatch.setenv("RAY_START_HOOK", "cluster_ray.hook")
    params = SimpleNamespace(ray_client_server_port=10001)
    cluster_ray.hook(params, head)
    return params


def test_the_raylet_does_not_wait_for_the_dashboard(
    ray: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(monkeypatch, head=True)
    assert ray.Node().start_api_server(include_dashboard=True) == "started"
    assert ray.done == [("dashboard", True, {b"space/dashboard": b"127.0.0.1:8265"})]


def test_a_worker_goes_on_as_soon_as_the_gcs_listens(
    ray: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        ray.Node.gcs_address = f"127.0.0.1:{server.getsockname()[1]}"
        threading.Timer(0.3, server.listen).start()
        call(monkeypatch, head=False)
        ray.Node()._init_gcs_client()
    assert ray.done == [("gcs", True)]


def test_a_worker_goes_on_as_soon_as_the_head_is_known(
    ray: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gcs = Kept(heads_after=3)
    call(monkeypatch, head=False)
    assert ray.get_all_node_info_until_retrieved(gcs, node_selectors=["the head"]) == 4
    assert ray.done == [("head", {"node_selectors": ["the head"]})]


def test_patience_ends_and_then_ray_looks_itself(ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_ray, "_PATIENCE", 0.2)
    call(monkeypatch, head=False)
    begun = time.monotonic()
    ray.Node()._init_gcs_client()
    assert ray.done == [("gcs", False)]
    assert 0.2 <= time.monotonic() - begun < 10


@pytest.mark.parametrize(("head", "count"), [(True, 5), (False, 6)])
def test_all_shortcuts_are_taken_and_counted(
    ray: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any, head: bool, count: int
) -> None:
    import_commands(monkeypatch)
    call(monkeypatch, head)
    assert capsys.readouterr().out == f"mnrun: ray start: {count} of {count} shortcuts taken\n"


def test_shortcuts_that_a_newer_ray_does_not_take_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("RAY_START_HOOK", "cluster_ray.hook")
    cluster_ray.hook(SimpleNamespace(), True)
    said = capsys.readouterr().out
    assert said.startswith("mnrun: ray start: 0 of 5 shortcuts taken; not: no import of ray.")
    assert "no client server, raylet beside the dashboard. Ray starts without" in said


def test_what_we_cannot_do_ray_does_itself(
    ray: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def another(_node: object) -> None:
        raise RuntimeError("of another Ray")

    monkeypatch.setattr(ray.Node, "get_gcs_client", another)
    call(monkeypatch, head=True)
    assert ray.Node().start_api_server(include_dashboard=True) == "started"
    assert ray.done == [("dashboard", True, {})]
    failed = "shortcut failed: raylet beside the dashboard (RuntimeError: of another Ray)"
    assert failed in capsys.readouterr().out


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        ("Node", "start_api_server"),
        ("Node", "_init_gcs_client"),
        ("", "get_all_node_info_until_retrieved"),
        ("", "Node"),
    ],
)
def test_a_ray_without_a_step_starts_too(
    ray: Any, monkeypatch: pytest.MonkeyPatch, owner: str, name: str
) -> None:
    monkeypatch.delattr(getattr(ray, owner) if owner else ray, name)
    for head in (True, False):
        assert call(monkeypatch, head).ray_client_server_port is None


def test_a_ray_without_the_module_starts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert call(monkeypatch, head=True).ray_client_server_port is None


def test_the_agents_ports_are_known_before_they_start(
    ray: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other cluster on this node takes them meanwhile; those that the user chose stay."""
    monkeypatch.setenv("RAY_START_HOOK", "cluster_ray.hook")
    params = SimpleNamespace(
        ray_client_server_port=10001, metrics_agent_port=None, runtime_env_agent_port=41002,
        dashboard_agent_listen_port=0,
    )  # fmt: skip
    cluster_ray.hook(params, False)
    chosen = [params.metrics_agent_port, params.dashboard_agent_listen_port]
    assert params.runtime_env_agent_port == 41002
    assert all(chosen)
    for port in chosen:
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
    for held in cluster_ray._HELD:
        held.close()
    cluster_ray._HELD.clear()


def test_the_agents_ports_are_written_before_the_raylet_looks_for_them(
    ray: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[str, str, str, int]] = []
    inner: Any = ModuleType("ray._raylet")
    inner.persist_port = lambda *given: written.append(given)
    for name in cluster_ray._AGENT_PORTS:
        setattr(inner, name, name.lower())
    monkeypatch.setitem(sys.modules, "ray._raylet", inner)
    monkeypatch.setattr(sys.modules["ray"], "_raylet", inner, raising=False)
    monkeypatch.setenv("RAY_enable_metrics_collection", "0")

    class Node(ray.Node):
        _session_dir, _node_id = "/session", "mine"
        _ray_params = SimpleNamespace(
            metrics_agent_port=1, metrics_export_port=None, dashboard_agent_listen_port=2,
            runtime_env_agent_port=3,
        )  # fmt: skip

        def start_raylet(self) -> int:
            return len(written)

    ray.Node = Node
    call(monkeypatch, head=False)
    assert Node().start_raylet() == 4
    assert written == [
        ("/session", "mine", "metrics_agent_port_name", 1),
        ("/session", "mine", "metrics_export_port_name", -1),
        ("/session", "mine", "dashboard_agent_listen_port_name", 2),
        ("/session", "mine", "runtime_env_agent_port_name", 3),
    ]


class Raylet:
    """A raylet that ends after so many looks, and a GCS that knows it after so many."""

    def __init__(self, ends_after: int, known_after: int) -> None:
        self.looks, self.ends_after, self.known_after = 0, ends_after, known_after
        self.returncode = 1
        self.process = self

    def poll(self) -> int | None:
        self.looks += 1
        return self.returncode if self.looks > self.ends_after else None

    def get_all_node_info(self, timeout: float) -> list[Any]:
        assert timeout > 0
        return [SimpleNamespace(hex=lambda: "mine")] if self.looks > self.known_after else []


def with_raylet(ray: Any, raylet: Raylet) -> Any:
    """A node whose processes have just been started."""

    def start_ray_processes(self: Any) -> str:
        self.all_processes = {"raylet": [raylet]}
        return "started"

    ray.Node.start_ray_processes = start_ray_processes
    ray.Node.get_gcs_client = lambda _: raylet
    ray.Node._node_id = "mine"
    return ray.Node()


def test_a_slow_raylet_is_waited_for(ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    raylet = Raylet(ends_after=1000, known_after=3)
    node = with_raylet(ray, raylet)
    call(monkeypatch, head=True)
    assert node.start_ray_processes() == "started"
    assert raylet.looks == 4


def test_a_raylet_that_ends_is_not_waited_for(ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    node = with_raylet(ray, Raylet(ends_after=2, known_after=1000))
    call(monkeypatch, head=False)
    with pytest.raises(SystemExit, match=r"raylet ended by itself, exit code 1"):
        node.start_ray_processes()


def test_a_ray_whose_processes_have_other_names_waits_itself(
    ray: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    node = with_raylet(ray, Raylet(0, 0))
    monkeypatch.setattr(ray.Node, "_node_id", property(), raising=False)
    call(monkeypatch, head=False)
    assert node.start_ray_processes() == "started"
    assert "its raylet is not waited for (AttributeError" in capsys.readouterr().out
