"""The parts of the Ray cluster's programs: ports, files, processes."""

from __future__ import annotations

import importlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import cluster
import cluster_bandwidth
import cluster_files
import cluster_gpus
import cluster_interface
import cluster_leftovers
import cluster_net
import cluster_node
import pytest
from cluster_errors import ClusterError

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
    assert "9.5 GB/s over all ranks; by node: a 180.5, b 9.5, c 180" in cluster_bandwidth.described(
        rates
    )


# folders on a node's disk


def test_folders_of_dead_clusters_are_swept_and_those_of_living_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("mnrun-1-0a1b2c", "mnrun-2-0a1b2c", "mnrun-3-0a1b2c", "mnrun-x", "other")
    dead, alive, young, *others = (tmp_path / name for name in names)
    for folder in (dead, alive, young, *others):
        (folder / "ray").mkdir(parents=True)
    (tmp_path / "mnrun-4-0a1b2c").symlink_to(others[-1])
    for folder in (dead, alive, *others):
        os.utime(folder, (1, 1))
    with cluster_leftovers.hold(alive):
        os.utime(alive, (1, 1))
        assert cluster_leftovers.sweep(tmp_path) == [dead]
    assert not dead.exists()
    assert all(folder.exists() for folder in (alive, young, *others))
    os.utime(alive, (1, 1))
    assert cluster_leftovers.stale(tmp_path) == [alive]
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert cluster_leftovers.stale(tmp_path) == []  # somebody else's


def test_whether_a_node_has_real_gpus(tmp_path: Path) -> None:
    assert not cluster_gpus.has_real_gpus(tmp_path)
    (tmp_path / "nvidiactl").touch()
    assert not cluster_gpus.has_real_gpus(tmp_path)
    (tmp_path / "nvidia0").touch()
    assert cluster_gpus.has_real_gpus(tmp_path)


def test_whether_torch_was_built_for_gpus_and_is_to_use_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert not cluster_gpus.built_for_gpus()
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").touch()
    (tmp_path / "torch" / "version.py").write_text("cuda: Optional[str] = None\n")
    importlib.invalidate_caches()
    assert not cluster_gpus.built_for_gpus()
    (tmp_path / "torch" / "version.py").write_text("cuda: Optional[str] = '13.0'\n")
    assert cluster_gpus.built_for_gpus()
    (tmp_path / "mnrun_cpu_shim.py").touch()  # the sandbox's: PyPI's torch is built for GPUs
    importlib.invalidate_caches()
    assert not cluster_gpus.built_for_gpus()


@pytest.mark.parametrize(
    ("version", "knows"),
    [("2.52.0", True), ("2.60.0", True), ("3.0", True), ("2.51.1", False), ("1.13", False),
     ("", True)],
)  # fmt: skip
def test_which_ray_knows_tokens(version: str, knows: bool) -> None:
    assert cluster.knows_tokens(version) is knows


# the command of each node


def test_the_head_listens_no_wider_than_needed() -> None:
    command = cluster_node.ray_command(make_plan(), "osk-gpu94", {"SLURM_CPUS_ON_NODE": "64"})
    assert {"--head", "--dashboard-host=127.0.0.1", "--port=37173", "--num-gpus=8"} <= set(command)
    assert {"--object-store-memory=100", "--no-monitor", "--num-cpus=64"} <= set(command)
    assert "/shared/token-12" not in " ".join(command)


def test_a_worker_knows_the_head_and_has_what_slurm_gave_it() -> None:
    env = {"SLURM_CPUS_ON_NODE": "64", "SLURM_GPUS_ON_NODE": "4"}
    command = cluster_node.ray_command(make_plan(), "osk-gpu95", env)
    assert {"--address=127.0.0.1:37173", "--node-name=osk-gpu95", "--num-gpus=4"} <= set(command)
    assert not any("dashboard-port" in part or "--head" in part for part in command)


def test_the_path_that_ray_gets_is_short_enough() -> None:
    assert len(_ray_folder(cluster.temp_dir("/local/scratch0", "1234567890"))) <= 43
    with pytest.raises(ClusterError, match="ray_cluster_temp_dir"):
        cluster.temp_dir("/local/scratch/of/us", "1234567890")


def _ray_folder(temp_dir: str) -> str:
    command = cluster_node.ray_command(
        make_plan(temp_dir=temp_dir), "n", {"SLURM_CPUS_ON_NODE": "1"}
    )
    (option,) = [part for part in command if part.startswith("--temp-dir=")]
    return option.partition("=")[2]


def test_ray_gets_the_tokens_path_and_no_other_cluster() -> None:
    unwanted = {
        "RAY_ADDRESS": "other:1",
        "RAY_AUTH_TOKEN": "other",
        "RAY_ENABLE_K8S_TOKEN_AUTH": "true",
        "ROCR_VISIBLE_DEVICES": "0",
    }
    env = {**unwanted, "PATH": "/bin", "RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN_PATH": "/other"}
    ours = cluster_node.ray_environment(make_plan(), env)
    assert ours["RAY_AUTH_TOKEN_PATH"] == make_plan().token_file
    assert ours["RAY_AUTH_MODE"] == "token"
    assert ours["PATH"] == "/bin"
    assert not set(unwanted) & set(ours)


def test_rays_own_limits_follow_ours_unless_the_user_has_set_one() -> None:
    env = {"RAY_agent_register_timeout_ms": "5"}
    ours = cluster_node.ray_environment(make_plan(ready_timeout=600.0), env)
    assert ours["RAY_agent_register_timeout_ms"] == "5"
    assert int(ours["RAY_raylet_start_wait_time_s"]) > 600
    assert int(ours["RAY_gcs_server_port_wait_time_s"]) > 600


def test_a_torch_for_gpus_wants_them_whatever_the_node_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a node whose GPUs fell off the bus."""
    torch = tmp_path / "torch"
    torch.mkdir()
    (torch / "__init__.py").write_text("raise AssertionError('it takes seconds')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(cluster_node, "has_real_gpus", lambda: False)
    for built, wants in (("cuda: Optional[str] = '12.8'", True), ("cuda = None\nhip = '6.4'", True),
                         ("cuda: Optional[str] = None\nhip = None\n", False)):  # fmt: skip
        (torch / "version.py").write_text(f"debug = False\n{built}\n")
        assert cluster_node.wants_torch(make_plan()) is wants
        assert not cluster_node.wants_torch(make_plan(torch_check="never"))
        assert not cluster_node.wants_torch(make_plan(gpus=0))


@pytest.mark.parametrize(
    ("lines", "nodes"),
    [
        (["0: RuntimeError: Connection closed by peer [10.0.0.2]:1",
          "1: RuntimeError: CUDA error: no CUDA-capable device is detected",
          "srun: error: b: task 1: Exited with exit code 1"], ["b"]),
        (["srun: error: b: task 1: Segmentation fault (core dumped)",
          "srun: error: a: task 0: Exited with exit code 1"], ["b"]),
        (["srun: error: a: task 0: Terminated", "srun: error: b: task 1: Exited with exit code 1"],
         ["b"]),
        (["0: torch.AcceleratorError: CUDA error: x", "1: torch.AcceleratorError: CUDA error: x"],
         ["a", "b"]),
        (["0: RuntimeError: Broken pipe", "1: RuntimeError: Timed out"], []),
        (["0: hello: Error"], []),
    ],
)  # fmt: skip
def test_a_failed_all_reduce_names_the_nodes_that_failed_first(
    lines: list[str], nodes: list[str]
) -> None:
    assert cluster_bandwidth.at_fault(lines, ["a", "b"], 2) == nodes


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


# files


def test_a_private_file_is_private_and_new(tmp_path: Path) -> None:
    path = tmp_path / "token"
    cluster_files.write_private(path, "secret")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        cluster_files.write_private(path, "other")


def test_tokens_of_earlier_jobs_go_but_not_those_of_another_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token-11").touch()
    mine = os.geteuid()
    with monkeypatch.context() as context:
        context.setattr(os, "geteuid", lambda: mine + 1)
        cluster_files.remove_tokens(tmp_path)
    assert (tmp_path / "token-11").exists()
    cluster_files.remove_tokens(tmp_path)
    assert not (tmp_path / "token-11").exists()


def test_the_head_is_published_whole_and_withdrawn_by_its_own_job_only(tmp_path: Path) -> None:
    path = tmp_path / "head.json"
    cluster_files.withdraw(path, "12")  # never came to publish
    cluster_files.publish(path, {"job_id": "12"})
    assert json.loads(path.read_text()) == {"job_id": "12"}
    assert list(tmp_path.iterdir()) == [path]
    cluster_files.withdraw(path, "11")
    assert path.exists()
    cluster_files.withdraw(path, "12")
    assert not path.exists()


def test_the_end_of_a_log_without_what_hides_the_cause(tmp_path: Path) -> None:
    log = tmp_path / "log"
    dump = "[state-dump] NodeManager\n" * 5000
    log.write_text(f"early\n{dump}raylet [exit code=1]\n\n{dump}killed\n")
    assert cluster_files.last_lines(log, 2) == ["raylet [exit code=1]", "killed"]
    assert cluster_files.last_lines(tmp_path / "none", 2) == []


# As Ray 2.60 writes it: what tells, and then frames.
RAYLET_ERR = """
[2026-11-27 03:30:14,001 C 130 130] (raylet) node_manager.cc:221:  Check failed: status.ok() Timed \
out waiting for file /tmp/mnrun-1/ray/session/runtime_env_agent_port
*** StackTrace Information ***
/env/ray/core/src/ray/raylet/raylet(+0xfc0d92) [0x56349aba6d92] boost::asio::io_context::run()
/env/ray/core/src/ray/raylet/raylet(+0x23ccf4) [0x563499e22cf4] main
/lib/x86_64-linux-gnu/libc.so.6(__libc_start_main+0x85) [0x7f3f61e45305] __libc_start_main
"""
NODE_LOG = """mnrun: ray start: 5 of 5 shortcuts taken
Traceback (most recent call last):
  File "/env/ray/scripts/scripts.py", line 1074, in start
    node = ray._private.node.Node(
           ^^^^^^^^^^^^^^^^^^^^^^^
Exception: The current node timed out during startup.
"""


def test_the_first_line_of_errors_tells_and_frames_do_not(tmp_path: Path) -> None:
    (tmp_path / "raylet.err").write_text(RAYLET_ERR)
    (line,) = cluster_files.first_lines(tmp_path / "raylet.err", 5)
    assert "Timed out waiting for file" in line
    (tmp_path / "log").write_text(NODE_LOG)
    assert cluster_files.last_lines(tmp_path / "log", 20) == [
        "mnrun: ray start: 5 of 5 shortcuts taken",
        "Exception: The current node timed out during startup.",
    ]


# processes

_TREE = """
import os, subprocess, sys, time
sys.path.insert(0, sys.argv[1])
from cluster_proc import adopt_orphans, descendants, end_descendants
adopt_orphans()
daemon = "import os, time; os.fork() and os._exit(0); os.setsid(); time.sleep(600)"
stubborn = "import signal as s, time; s.signal(15, s.SIG_IGN); print(flush=True); time.sleep(600)"
subprocess.run([sys.executable, "-c", daemon], check=True)
deaf = subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE)
deaf.stdout.read(1)
before = descendants(os.getpid())
left = end_descendants(grace=0.3)
print(len(before), len(left), *before)
"""


def test_daemons_and_deaf_processes_end_too() -> None:
    command = [sys.executable, "-c", _TREE, str(Path(cluster.__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    before, left, *pids = done.stdout.split()
    assert (before, left) == ("2", "0")
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


_OF_ANOTHER = """
import os, subprocess, sys, time
sys.path.insert(0, sys.argv[1])
from cluster_proc import adopt_orphans, end_descendants
adopt_orphans()
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
theirs, *ours = [subprocess.Popen(sleep, stdout=2) for _ in range(3)]
kill = os.kill

def refuse(pid, number):
    if pid == theirs.pid:
        raise PermissionError(1, "Operation not permitted")
    kill(pid, number)

os.kill = refuse
begun = time.monotonic()
try:
    left = end_descendants(grace=0.3)
    print(left == [theirs.pid], time.monotonic() - begun < 5)
finally:
    os.kill = kill
    end_descendants(grace=0)
"""


def test_a_process_of_another_user_does_not_keep_the_others_alive() -> None:
    """As of a program that sudo started: first in the list, and no signal of ours gets to it."""
    command = [sys.executable, "-c", _OF_ANOTHER, str(Path(cluster.__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "True True\n", done.stderr
