"""The parts of the Ray cluster's programs: a node's disk, GPUs, command, processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cluster
import cluster_bandwidth
import cluster_files
import cluster_leftovers
import cluster_node
import pytest
import torch_gpus
from cluster_errors import ClusterError

from tests.helpers.cluster_plan import make_plan

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


@pytest.mark.parametrize(
    ("version", "knows"),
    [("2.52.0", True), ("2.60.0", True), ("3.0", True), ("2.51.1", False), ("1.13", False),
     ("", True)],
)  # fmt: skip
def test_which_ray_knows_tokens(version: str, knows: bool) -> None:
    assert cluster.knows_tokens(version) is knows


@pytest.mark.parametrize(("answer", "version"), [("echo 2.60.0", "2.60.0"), ("exit 1", "")])
def test_the_version_of_ray_is_that_of_the_environments_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, version: str
) -> None:
    """Which is in an image, perhaps, and this program is not."""
    (tmp_path / "python").write_text(f"#!/bin/sh\n{answer}\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert cluster.installed_ray() == version


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
    monkeypatch.setattr(sys, "path", [str(tmp_path)])  # not the sandbox's shim
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(torch_gpus, "has_real_gpus", lambda: False)
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


def test_what_ray_says_while_all_is_well_does_not_hide_what_tells(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(
        "torch sees 0 of 8 GPUs on gpu94\n"
        "2026-11-27 03:30:14,001\tINFO usage_lib.py:441 -- Usage stats collection is disabled.\n"
        "2026-11-27 03:30:14,002\tWARNING services.py:9 -- /dev/shm is small\n"
        "[2026-11-27 03:30:14,003 I 130 130] (raylet) main.cc:204: Setting cluster ID to: 12\n"
        "[2026-11-27 03:30:14,004 E 130 130] (raylet) main.cc:205: no route to the head\n"
    )
    assert cluster_files.last_lines(tmp_path / "log", 20) == [
        "torch sees 0 of 8 GPUs on gpu94",
        "2026-11-27 03:30:14,002\tWARNING services.py:9 -- /dev/shm is small",
        "[2026-11-27 03:30:14,004 E 130 130] (raylet) main.cc:205: no route to the head",
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


def test_ray_has_what_services_leave() -> None:
    plan = make_plan(gpus=6, services_gpus=2, services_cpus=8)
    env = {"SLURM_CPUS_ON_NODE": "64", "SLURM_GPUS_ON_NODE": "8", "SLURMD_NODENAME": "osk-gpu94",
           "CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7"}  # fmt: skip
    command = cluster_node.ray_command(plan, "osk-gpu94", env)
    assert {"--num-gpus=6", "--num-cpus=56"} <= set(command)
    ours = cluster_node.ray_environment(plan, env)
    assert ours["CUDA_VISIBLE_DEVICES"] == "0,1,2,3,4,5"
