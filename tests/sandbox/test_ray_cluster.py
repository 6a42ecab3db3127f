"""One Ray cluster from its start to its end: only those with its token get in, and no one else sees
the token; it trains, more than once. Each test continues from the one before."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from .conftest import Cluster
from .faults import running
from .mnrun import mnrun
from .ray_runs import NODES, Run

pytestmark = [pytest.mark.sandbox, pytest.mark.slurm]

PROBE = (Path(__file__).parent / "files" / "ray_probe.py").read_text()

# gRPC of Ray, which Ray binds to all addresses and which asks for the token; Slurm's own srun.
_WIDE = {"gcs_server", "raylet", "ray::DashboardA", "srun", "sshd", "slurmd"}


class Started(NamedTuple):
    """A cluster that is up, and what its start printed."""

    run: Run
    said: str


@pytest.fixture(scope="module")
def started(sandbox: Cluster) -> Iterator[Started]:
    run = Run(sandbox, "one")
    run.run(f"rm -rf {run.folder}")
    yield Started(run, run.play("start", ray_cluster_allreduce=8))
    run.signal_stop()


def test_it_is_up_on_both_nodes(started: Started) -> None:
    run, said = started
    assert re.search(r"\[ray\] … job \d+ RUNNING on osk-gpu\[94-95\]", said)
    head = run.head()
    assert head["nodes"] == list(NODES)
    assert (head["gpus"], head["host"]) == (2, "osk-gpu94")
    for node, count in zip(NODES, (5, 6), strict=True):
        log = run.run(f"cat {run.folder}/ppo/ray_cluster/logs/ray-{head['job_id']}-{node}.log")
        assert f"mnrun: ray start: {count} of {count} shortcuts taken\n" in log
        assert "shortcut failed" not in log


def test_a_colleague_does_not_get_in(started: Started) -> None:
    run, said = started
    head = run.head()
    token = run.run(f"cat {head['token_file']}")
    assert token not in said

    _the_gate_measured_the_network(run, head)
    for user in ("mluser", "mluser2"):
        for address in _http(run):
            _refused(run, user, address)
    for given in ("RAY_AUTH_MODE=disabled", "RAY_AUTH_MODE=token RAY_AUTH_TOKEN=wrong"):
        _grpc_refused(run, given, _gcs(head))
    assert run.sandbox.run(f"cat {head['token_file']}; true", "mluser2@login").endswith(
        "Permission denied"
    )
    assert run.run(f"stat -c %a {head['token_file']}") == "600"
    assert run.run(f"stat -c %a {head['temp_dir']}", head["host"]) == "700"

    assert _wide_listeners(run) <= _WIDE  # a job leaves workers, which listen too
    _the_owner_gets_in(run, head)
    _is_nowhere(run, token, head["token_file"])


def test_the_dashboard_comes_to_this_machine_and_goes_with_ctrl_c(
    started: Started, tmp_path: Path
) -> None:
    run = started.run
    head = run.head()
    token = run.run(f"cat {head['token_file']}")
    with running(tmp_path / "log", "ray", "dashboard", mnrun_run_dir=run.folder) as command:
        found = command.until(r"on osk-gpu94: http://127\.0\.0\.1:(\d+)")
        port = int(found.group(1))
        command.until("until you press Ctrl-C")
        assert _ask(port, "/") == 200
        assert _ask(port, "/api/jobs/") == 401
        assert _ask(port, "/api/jobs/", token) == 200
        os.killpg(command.process.pid, signal.SIGINT)
        code, text = command.end(30)
    assert code == 130, text
    assert f"cat {head['token_file']}" in text
    assert token not in text
    with pytest.raises(ConnectionRefusedError):
        _ask(port, "/")
    assert run.runs(head["job_id"])


def test_train_again_fail_and_down(started: Started) -> None:
    run = started.run
    head = run.head()
    given: dict[str, Any] = {"ray_cluster_allreduce": 8}
    said = run.play("start", "job", **given)
    assert re.search(r"\[ppo\] … job ppo-\w+-1 SUCCEEDED · step 3/3 · reward 0.3", said)
    places = [(head["job_id"], node) for node in NODES]
    assert run.driver_log().splitlines()[-1] == f"ran in {places}"
    assert "changed=0" in run.play("start", "job", **given)

    failed = run.try_to("start", "job", way="fail", **given)
    assert failed.returncode == 2
    assert "ValueError: the trainer says why" in failed.stdout

    begun = time.monotonic()
    run.play("stop")
    assert time.monotonic() - begun < 30  # seconds on a busy machine, Ansible's own included
    assert run.leftovers(head["job_id"]) == []
    assert run.ended(head["job_id"]) == "COMPLETED|2"
    assert run.sandbox.run(f"ls {run.folder}/.mnrun/ray/*/ | grep -c token", check=False) == "0"
    assert "changed=0" in run.play("stop")


def _ask(port: int, path: str, token: str = "") -> int:
    """The status that a browser on this machine gets."""
    sent = {"Authorization": f"Bearer {token}"} if token else {}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=sent)
        return connection.getresponse().status
    finally:
        connection.close()


def _the_owner_gets_in(run: Run, head: dict[str, Any]) -> None:
    """By the command that `mnrun ray status` shows, in an environment that says otherwise."""
    shown = mnrun("ray", "status", mnrun_run_dir=run.folder).text
    (line,) = re.findall(
        r"To submit a job, on osk-gpu94: (RAY_AUTH_MODE=token .+) -- COMMAND", shown
    )
    command = line.replace(" ray job", " conda_env/bin/ray job")
    said = run.run(f"export RAY_AUTH_MODE=disabled; {command} -- echo let in 2>&1", head["host"])
    assert "let in" in said
    assert "succeeded" in said


def _gcs(head: dict[str, Any]) -> str:
    return f"{head['ip']}:{head['gcs_port']}"


def _the_gate_measured_the_network(run: Run, head: dict[str, Any]) -> None:
    rates = head["allreduce"]
    assert set(rates["nodes"]) == set(NODES)
    assert min(rates["all"], *rates["nodes"].values()) > 0
    assert "[ray] all-reduce: " in run.cluster_log()
    assert head["interface"] == "eth0"
    assert "head osk-gpu94 at 10.94.0.94 on eth0, by the route to osk-gpu95" in run.cluster_log()


def _http(run: Run) -> list[tuple[str, str]]:
    """Node and address of each HTTP server of Ray: dashboard, agents, runtime environments."""
    found = []
    for node in NODES:
        lines = run.sandbox.run("ss -ltnpH", f"root@{node}").splitlines()
        ours = [line for line in lines if re.search(r'\("(ray::|python)', line)]
        found += [(node, line.split()[3]) for line in ours if not line.split()[3].startswith("*")]
    assert len(found) == 7, found  # the head's dashboard, and three servers on each node
    return found


def _refused(run: Run, user: str, place: tuple[str, str]) -> None:
    node, address = place
    ask = "curl -s -m 10 -o /dev/null -w '%{http_code} '"
    calls = [
        *(f"{ask} http://{address}{path}" for path in ("/api/jobs/", "/api/v0/nodes", "/metrics")),
        f"{ask} -X POST -d '{{}}' http://{address}/api/job_agent/jobs/",
        f"{ask} -X POST -d '{{}}' http://{address}/get_or_create_runtime_env",
    ]
    codes = run.sandbox.run("; ".join(calls), f"{user}@{node}").split()
    assert codes == ["401"] * len(calls), (user, place)


def _grpc_refused(run: Run, given: str, address: str) -> None:
    line = f"{given} timeout 60 conda_env/bin/python - {address}"
    done = subprocess.run(
        ["ssh", "-F", str(run.sandbox.directory / "ssh_config"), "mluser2@osk-gpu95", line],
        input=PROBE, capture_output=True, text=True, timeout=90, check=True,
    )  # fmt: skip
    refused, joined = done.stdout.splitlines()[-2:]
    assert refused.startswith("GcsClient: AuthenticationError"), done.stdout
    assert joined == "ray.init: ConnectionError", done.stdout


def _wide_listeners(run: Run) -> set[str]:
    """Programs that listen on all addresses of any node."""
    lines = [
        line
        for node in NODES
        for line in run.sandbox.run("ss -ltnpH", f"root@{node}").splitlines()
        if line.split()[3].rpartition(":")[0] in {"*", "0.0.0.0", "[::]"}  # noqa: S104
    ]
    return {name for line in lines for name in re.findall(r'\("([^"]+)"', line)}


def _is_nowhere(run: Run, token: str, token_file: str) -> None:
    """Neither in a process list nor in a file that anybody writes, but for the one."""
    for node in (*NODES, "login"):
        shown = run.sandbox.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '; true", f"root@{node}")
        assert token not in shown
    for node in NODES:
        inside = f"grep -rlF {token} /tmp /run /dev/shm --devices=skip 2> /dev/null"
        assert run.sandbox.run(inside, f"root@{node}", check=False) == ""
    directory = run.sandbox.directory
    places = [directory / "home", directory / "log", directory / "run", *directory.glob("spool*")]
    places += [Path.home() / ".ansible", Path("/var/tmp")]
    command = ["grep", "-rlF", "--devices=skip", "--exclude-dir=appli", token, *map(str, places)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == [f"{run.sandbox.directory}{token_file}"]
