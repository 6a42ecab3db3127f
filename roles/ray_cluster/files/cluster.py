"""The Ray cluster of one Slurm job: starts it, publishes its head, watches it, ends it.

The batch script becomes this process, on the first node of the allocation. It starts one srun over
all nodes (cluster_node.py), waits until each node is there with its GPUs, and then writes head.json
into the record's folder. The cluster ends, with exit code 0, on SIGUSR1 or SIGTERM, and by itself
when no Ray job has run for a while; with exit code 1 when a node is lost or does not come.
Standard library only, Python 3.8 or later.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import cluster_bandwidth
from cluster_errors import ClusterError
from cluster_files import publish, remove_tokens, withdraw, write_private
from cluster_interface import Interface, choose
from cluster_net import Dashboard, node_names, reserve_port
from cluster_node import Plan
from cluster_proc import Events
from cluster_reports import Wanted
from cluster_srun import PYTHON
from cluster_step import start_step
from cluster_watch import STOPPING, ClusterWatch, no_tokens, say
from torch_gpus import are_expected

_LONGEST_PATH = 43 - len("/ray")  # sockets below Ray's folder have paths of 107 bytes at most
_TOKENS_SINCE = (2, 52)  # version of Ray


class Settings(NamedTuple):
    """cluster.json: what the role decides. Times in seconds."""

    gpus: int  # on each node
    port: int  # preferred ones; others are taken when they are in use
    dashboard_port: int
    ready_timeout: float
    idle_timeout: float  # before the first Ray job; 0: never
    linger: float  # after a Ray job; 0: never
    log_dir: str
    temp_root: str  # a folder on each node's own disk
    options: dict[str, object]  # more long options of `ray start`
    interface: str = ""
    torch_check: str = "auto"
    metrics: bool = False
    allreduce: int = 0  # MiB; 0: none
    allreduce_min: float = 0.0  # GB/s
    allow_open: bool = False  # a Ray without tokens may run
    services: Mapping[str, int] = {}  # GPUs and cores of each node that are not for Ray


def serve(plan: Plan, nodes: list[str], settings: Settings, record: Path) -> str:
    """Run the cluster from its start to its end.

    Returns:
        Why it ended: it was asked to, or had nothing to do.

    Raises:
        ClusterError: it did not come up, or lost a node.
    """
    events = Events(STOPPING)
    head, token = record / "head.json", Path(plan.token_file)
    with ExitStack() as at_the_end:
        remove_tokens(record)  # of jobs before this one that were killed
        write_private(token, secrets.token_hex(32))
        at_the_end.callback(token.unlink, missing_ok=True)
        dashboard = Dashboard(plan.dashboard_port, token)
        cluster = ClusterWatch(plan, nodes, start_step(plan, len(nodes)), events, dashboard)
        at_the_end.callback(cluster.end)
        try:
            facts = pass_gate(cluster, plan, nodes, settings)
        except ClusterError as error:
            # Whoever starts the next one can leave these nodes out.
            faulty = {"job_id": plan.job_id, "nodes": error.nodes, "of": nodes, "slow": error.slow}
            publish(record / "faulty.json", faulty)
            raise
        if isinstance(facts, str):
            return facts
        at_the_end.callback(withdraw, head, plan.job_id)  # before anything else ends
        publish(head, {**head_facts(plan, nodes, dashboard.ray_version()), **facts})
        say(
            f"ready after {facts['ready_seconds']:.1f} s: {len(nodes)} nodes with {plan.gpus} "
            "GPUs each"
        )
        return cluster.until_idle(settings.idle_timeout, settings.linger)


def pass_gate(
    cluster: ClusterWatch, plan: Plan, nodes: list[str], settings: Settings
) -> dict[str, Any] | str:
    """Wait until all nodes are up, and measure the network if that is requested.

    Returns:
        What was found, for head.json; or a reason to stop that came up before.

    Raises:
        ClusterError: the cluster is not as it has to be.
    """
    started = time.monotonic()
    reason = cluster.until_ready(settings.ready_timeout)
    if reason is not None:
        return reason
    facts: dict[str, Any] = {"ready_seconds": round(time.monotonic() - started, 2)}
    if not settings.allreduce:
        return facts
    wanted = to_be_tried(plan, nodes, settings)
    if wanted.ranks == 1:
        return facts
    found = cluster_bandwidth.measure(wanted, cluster.wait)
    if isinstance(found, str):
        return found
    say(cluster_bandwidth.described(found.rates, found.transport))
    for node, texts in found.warnings.items():
        say(f"warning: {node}: {'; '.join(texts)}")
    facts["allreduce"] = found.rates
    cluster.refuse(cluster_bandwidth.slow_nodes(found.rates, settings.allreduce_min), "is too slow")
    return facts


def to_be_tried(plan: Plan, nodes: list[str], settings: Settings) -> Wanted:
    """The all-reduce over all nodes; their GPUs have been checked before."""
    return Wanted(
        nodes=nodes,
        gpus=plan.gpus,
        nccl=plan.gpus > 0 and are_expected(),
        address=plan.ip,
        interface=plan.interface,
        mib=settings.allreduce,
        check=False,
        seconds=settings.ready_timeout,
        log=Path(plan.log_dir) / f"allreduce-{plan.job_id}.log",
    )


def head_facts(plan: Plan, nodes: list[str], version: str) -> dict[str, Any]:
    """The content of head.json: all that a client needs, and the job that it belongs to."""
    return {
        "job_id": plan.job_id,
        "host": plan.head,
        "ip": plan.ip,
        "gcs_port": plan.gcs_port,
        "dashboard_port": plan.dashboard_port,
        "token_file": plan.token_file,
        "nodes": nodes,
        "gpus": plan.gpus,
        "temp_dir": plan.temp_dir,
        "ray_version": version,
        "interface": plan.network,
        "open": not plan.private,
    }


def temp_dir(root: str, job_id: str) -> str:
    """A folder of the job's own below `root`, on each node. Raises ClusterError if it is long."""
    path = f"{root.rstrip('/')}/mnrun-{job_id}-{secrets.token_hex(3)}"
    if len(path) > _LONGEST_PATH:
        raise ClusterError(
            f"{root} is too long for Ray's sockets: ray_cluster_temp_dir may have "
            f"{_LONGEST_PATH - len(path) + len(root)} characters."
        )
    return path


def main() -> int:
    """Entry point. Exit code 0 when the cluster was asked to end or was idle, 1 otherwise."""
    record = Path(__file__).resolve().parent
    settings = Settings(**json.loads((record / "cluster.json").read_text("utf-8")))
    nodes = node_names(os.environ["SLURM_JOB_NODELIST"])
    with reserve_port(settings.port) as gcs, reserve_port(settings.dashboard_port) as dashboard:
        try:
            ports = gcs.getsockname()[1], dashboard.getsockname()[1]
            network = head_interface(settings, nodes)
            plan = make_plan(record, settings, network, ports)
            say(f"job {plan.job_id}: {len(nodes)} nodes, head {plan.head} at {network}")
            if not plan.private:
                say(f"warning: {open_to_all(plan, len(nodes))}")
            say(f"stopped: {serve(plan, nodes, settings, record)}")
        except ClusterError as error:
            say(f"error: {error}")
            return 1
    return 0


def head_interface(settings: Settings, nodes: list[str]) -> Interface:
    """Where this node, the head, is reached by the others. Alone it has no others.

    Raises:
        ClusterError: the interface that the user named is not there, or there is no route.
    """
    if len(nodes) == 1:
        return Interface("lo", "127.0.0.1", "there being no other node")
    hint = os.environ.get("NCCL_SOCKET_IFNAME", "")
    try:
        return choose(settings.interface, hint, nodes[-1])
    except OSError as error:
        raise ClusterError(f"{nodes[0]}: {error}.", [nodes[0]]) from error


def make_plan(record: Path, settings: Settings, network: Interface, ports: tuple[int, int]) -> Plan:
    """What all nodes have to know, from the settings and from what Slurm gave the job.

    Raises:
        ClusterError: this Ray knows no tokens, or the temporary folder's path is too long.
    """
    # In an allocation with other stages it has an id of its own.
    around, head = os.environ["SLURM_JOB_ID"], os.environ["SLURMD_NODENAME"]
    job_id = os.environ.get("MNRUN_JOB", around)
    version = installed_ray()
    private = knows_tokens(version)
    if not private and not settings.allow_open:
        raise ClusterError(no_tokens(version, head))
    return Plan(
        job_id=job_id,
        head=head,
        ip=network.address,
        gcs_port=ports[0],
        dashboard_port=ports[1],
        token_file=str(record / f"token-{job_id}"),
        temp_dir=temp_dir(settings.temp_root, around),
        log_dir=settings.log_dir,
        gpus=settings.gpus,
        options=settings.options,
        interface=settings.interface,
        network=network.name,
        torch_check=settings.torch_check,
        metrics=settings.metrics,
        ready_timeout=settings.ready_timeout,
        private=private,
        services_gpus=settings.services.get("gpus", 0),
        services_cpus=settings.services.get("cpus", 0),
    )


def installed_ray() -> str:
    """The version of Ray in the training environment; empty if it is unknown."""
    command = [PYTHON, "-c", 'from importlib import metadata; print(metadata.version("ray"))']
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=120, check=False
    )
    return done.stdout.decode("ascii", "replace").strip() if done.returncode == 0 else ""


def knows_tokens(version: str) -> bool:
    """Whether a Ray asks for tokens. One of unknown version is asked when it runs."""
    numbers = re.match(r"(\d+)\.(\d+)", version)
    return numbers is None or (int(numbers[1]), int(numbers[2])) >= _TOKENS_SINCE


def open_to_all(plan: Plan, nodes: int) -> str:
    """The warning about a Ray without tokens that is started nevertheless."""
    where = (
        f"whoever is on {plan.head}"
        if nodes == 1
        else f"whoever reaches {plan.ip}:{plan.gcs_port}, or is on {plan.head},"
    )
    return f"this Ray has no tokens: {where} can run programs as you (ray_cluster_allow_open)"


if __name__ == "__main__":
    sys.exit(main())
