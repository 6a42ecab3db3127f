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
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from cluster_files import last_lines, publish, withdraw, write_private
from cluster_net import Dashboard, NoAnswerError, address_towards, reserve_port
from cluster_node import Plan
from cluster_proc import Events

_POLL = 0.2  # seconds between two looks while the cluster comes up
_LOOK = 10.0  # seconds between two looks for jobs, at most
_SILENCE = 600.0  # seconds without an answer of the dashboard after which the head is lost
_STOP = 10.0  # seconds that all nodes get to stop; Slurm ends what is left with the job
_LONGEST_PATH = 43 - len("/ray")  # sockets below Ray's folder have paths of 107 bytes at most
_STOPPING = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)

# They describe the tasks of the batch script's job, and srun would take them for its own.
_NOT_FOR_SRUN = {
    "SLURM_CPUS_PER_TASK",
    "SRUN_CPUS_PER_TASK",
    "SLURM_DISTRIBUTION",
    "SLURM_NPROCS",
    "SLURM_NTASKS",
    "SLURM_NTASKS_PER_NODE",
}


class ClusterError(Exception):
    """The cluster did not come up, or is lost. The message is for the user."""


class Settings(NamedTuple):
    """cluster.json: what the role decides. Times in seconds."""

    gpus: int  # on each node
    port: int  # preferred ones; others are taken when they are in use
    dashboard_port: int
    ready_timeout: float
    idle_timeout: float  # 0: never
    log_dir: str
    temp_root: str  # a folder on each node's own disk
    options: dict[str, object]  # more long options of `ray start`


class Step(NamedTuple):
    """The srun over all nodes."""

    srun: subprocess.Popen[bytes]
    word: IO[bytes]  # closed: all nodes stop
    report: IO[bytes]  # a line: a node is lost; its end: srun ended

    def exit_code(self, seconds: float) -> int | None:
        """Wait for srun to end. None if it does not."""
        try:
            return self.srun.wait(seconds)
        except subprocess.TimeoutExpired:
            return None


def start_step(plan: Plan, nodes: int) -> Step:
    """Start one task on each node, with all CPUs and GPUs that the job has there."""
    command = [
        "srun",
        f"--nodes={nodes}",
        f"--ntasks={nodes}",
        "--ntasks-per-node=1",
        "--cpu-bind=none",
        "--mpi=none",
        "--export=ALL",
        "--kill-on-bad-exit=1",
        sys.executable,
        "-B",
        str(Path(__file__).with_name("cluster_node.py")),
        json.dumps(plan._asdict()),
    ]
    env = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_SRUN}
    pipe = subprocess.PIPE
    srun = subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, bufsize=0)
    return Step(srun, cast("IO[bytes]", srun.stdin), cast("IO[bytes]", srun.stdout))


def node_faults(expected: list[str], gpus: int, seen: list[dict[str, Any]]) -> dict[str, str]:
    """What keeps the cluster from being whole: node name -> fault. Empty when all are there."""
    alive = {node.get("node_name"): node for node in seen if node.get("state") == "ALIVE"}
    faults = {}
    for name in expected:
        if name not in alive:
            faults[name] = "Ray has not joined"
        else:
            has = int(alive[name].get("resources_total", {}).get("GPU", 0))
            if has != gpus:
                faults[name] = f"has {has} GPUs, {gpus} expected"
    return faults


def is_busy(jobs: list[dict[str, Any]]) -> bool:
    """Whether any Ray job or driver runs or is about to."""
    return any(job.get("status") in {"PENDING", "RUNNING"} for job in jobs)


class Cluster:
    """One Ray cluster whose step has just been started."""

    def __init__(
        self, plan: Plan, nodes: list[str], step: Step, events: Events, dashboard: Dashboard
    ) -> None:
        self._plan = plan
        self._nodes = nodes
        self._step = step
        self._events = events
        self._dashboard = dashboard
        self._closed = False  # to those without the token

    def until_ready(self, seconds: float) -> str | None:
        """Wait for all nodes. Returns a reason to stop before that, if one comes up.

        Raises:
            ClusterError: not all are there in time, the step ended, or Ray asks for no token.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                faults = node_faults(self._nodes, self._plan.gpus, self._dashboard.nodes())
                self._refuse_if_open()
            except NoAnswerError as error:
                faults = {self._plan.head: f"the dashboard does not answer ({error})"}
            if not faults:
                return None
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"the Ray cluster is not whole after {seconds:.0f} s "
                    f"(ray_cluster_ready_timeout).\n{self._evidence(faults)}"
                )
            reason = self._wait(_POLL)
            if reason is not None:
                return reason

    def _refuse_if_open(self) -> None:
        """Look once whether the cluster asks for its token. Raises ClusterError if not."""
        if not self._closed and self._dashboard.is_open():
            raise ClusterError(
                f"Ray {self._dashboard.ray_version()} answers without the token: everybody on "
                f"{self._plan.head} could run programs as you. Tokens need Ray 2.52 or later; "
                "install that in the environment (environment_conda_prefix)."
            )
        self._closed = True

    def until_idle(self, seconds: float) -> str:
        """Watch until there is a reason to stop: a signal, or no Ray job for so many seconds
        (0: a signal only).

        Raises:
            ClusterError: the step ended, or the head has been silent for too long.
        """
        busy_at = answer_at = time.monotonic()
        while True:
            reason = self._wait(min(_LOOK, seconds / 4) if seconds else _LOOK)
            if reason is not None:
                return reason
            now = time.monotonic()
            try:
                if is_busy(self._dashboard.jobs()):
                    busy_at = now
                answer_at = now
            except NoAnswerError as error:
                fault = f"the dashboard has not answered for {_SILENCE:.0f} s ({error})"
                if now - answer_at > _SILENCE:
                    evidence = self._evidence({self._plan.head: fault})
                    raise ClusterError(f"the head is lost.\n{evidence}") from error
            else:
                if seconds and now - busy_at > seconds:
                    return f"no Ray job has run for {seconds:.0f} s (ray_cluster_idle_timeout)"

    def end(self) -> None:
        """End Ray on all nodes, and wait for it."""
        self._step.word.close()
        if self._step.exit_code(_STOP) is None:
            say(f"some nodes have not stopped after {_STOP:.0f} s; Slurm ends them")
            self._step.srun.terminate()

    def _wait(self, seconds: float) -> str | None:
        """Let time pass. Returns a reason to stop, if one comes up.

        Raises:
            ClusterError: a node is lost.
        """
        signals, spoke = self._events.wait(seconds, self._step.report)
        for number in signals:
            if number in _STOPPING:
                return f"asked to ({number.name})"
        if not spoke:
            return None
        line = self._step.report.readline().decode("utf-8", "replace")
        if not line:
            code = self._step.exit_code(_STOP)
            raise ClusterError(f"the Ray cluster is lost: srun ended, exit code {code}.")
        node, _, fault = line.strip().partition(" ")
        if node not in self._nodes:
            say(line.strip())  # a site's own greeting, for one
            return None
        raise ClusterError(f"the Ray cluster is lost.\n{self._evidence({node: fault})}")

    def _evidence(self, faults: Mapping[str, str]) -> str:
        """The faulty nodes, each with the end of its log."""
        lines: list[str] = []
        for name, fault in faults.items():
            log = self._plan.log_file(name)
            lines.append(f"{name}: {fault}. The last lines of {log}:")
            lines += [f"    {line}" for line in last_lines(log, 20) or ["(nothing)"]]
        return "\n".join(lines)


def run(plan: Plan, nodes: list[str], settings: Settings, record: Path) -> str:
    """Run the cluster from its start to its end.

    Returns:
        Why it ended: it was asked to, or had nothing to do.

    Raises:
        ClusterError: it did not come up, or lost a node.
    """
    events = Events(_STOPPING)
    started = time.monotonic()
    head, token = record / "head.json", Path(plan.token_file)
    with ExitStack() as at_the_end:
        write_private(token, secrets.token_hex(32))
        at_the_end.callback(token.unlink, missing_ok=True)
        dashboard = Dashboard(plan.dashboard_port, token)
        cluster = Cluster(plan, nodes, start_step(plan, len(nodes)), events, dashboard)
        at_the_end.callback(cluster.end)
        reason = cluster.until_ready(settings.ready_timeout)
        if reason is not None:
            return reason
        seconds = time.monotonic() - started
        at_the_end.callback(withdraw, head, plan.job_id)  # before anything else ends
        publish(head, head_facts(plan, nodes, dashboard.ray_version(), seconds))
        say(f"ready after {seconds:.1f} s: {len(nodes)} nodes with {plan.gpus} GPUs each")
        return cluster.until_idle(settings.idle_timeout)


def head_facts(plan: Plan, nodes: list[str], version: str, seconds: float) -> dict[str, Any]:
    """The content of head.json: all that a client needs, and which job it is true for."""
    return {
        "job_id": plan.job_id,
        "host": plan.head,
        "address": plan.address,
        "gcs_port": plan.port,
        "dashboard_port": plan.dashboard_port,
        "token_file": plan.token_file,
        "nodes": nodes,
        "gpus": plan.gpus,
        "temp_dir": plan.temp_dir,
        "ray_version": version,
        "ready_seconds": round(seconds, 2),
    }


def node_names(nodelist: str) -> list[str]:
    """The single names of a node list of any form, in Slurm's order."""
    command = ["scontrol", "show", "hostnames", nodelist]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60)
    return done.stdout.decode("ascii").split()


def say(text: str) -> None:
    """One line for the job's log."""
    print(f"[ray] {text}", flush=True)


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
            plan = make_plan(record, settings, nodes, ports)
            say(f"job {plan.job_id}: {len(nodes)} nodes, head {plan.head} ({plan.address})")
            say(f"stopped: {run(plan, nodes, settings, record)}")
        except ClusterError as error:
            say(f"error: {error}")
            return 1
    return 0


def make_plan(record: Path, settings: Settings, nodes: list[str], ports: tuple[int, int]) -> Plan:
    """What all nodes have to know, from the settings and from what Slurm gave the job."""
    job_id = os.environ["SLURM_JOB_ID"]
    return Plan(
        job_id=job_id,
        head=os.environ["SLURMD_NODENAME"],
        # Another node shows which of this node's addresses the nodes see each other by.
        address=address_towards(nodes[-1]) if len(nodes) > 1 else "127.0.0.1",
        port=ports[0],
        dashboard_port=ports[1],
        token_file=str(record / f"token-{job_id}"),
        temp_dir=temp_dir(settings.temp_root, job_id),
        log_dir=settings.log_dir,
        gpus=settings.gpus,
        options=settings.options,
    )


if __name__ == "__main__":
    sys.exit(main())
