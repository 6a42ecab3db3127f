"""One node of the Ray cluster: starts Ray, watches it, and leaves nothing behind.

srun runs it once on each node, with the cluster's plan (JSON, nothing secret) as its argument. The
end of its standard input is the word to stop: cluster.py holds the other end, so that it comes also
when cluster.py dies. On its standard output it says `NODE checked` when it finds nothing wrong with
its GPUs, `NODE failed WHY` when something is permanently wrong, and `NODE slow WHY` when Ray took
too long to start.
Standard library only, Python 3.8 or later.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, NamedTuple

import cluster_nccl
from cluster_files import first_lines, last_lines
from cluster_interface import Interface, choose
from cluster_leftovers import hold, sweep
from cluster_proc import Events, adopt_orphans, end_descendants, reap
from cluster_share import keep_training_cores, of_training
from cluster_use import sampled
from torch_gpus import are_expected

_NOT_FOR_RAY = {
    "RAY_ADDRESS",  # names some other cluster
    "RAY_AUTH_TOKEN",  # wins over our token's file
    "RAY_ENABLE_K8S_TOKEN_AUTH",  # has Kubernetes judge the token
    # Slurm sets it beside CUDA_VISIBLE_DEVICES where gres.conf does not name the kind of GPU, and
    # verl's workers refuse to start when both are set.
    "ROCR_VISIBLE_DEVICES",
}

# Ray's own limits for parts of its start, most of them 30 s, and what each counts in (1: seconds).
# ray_cluster_ready_timeout decides how long the start may take, so these expire a little later.
_LATER = 30  # seconds
_LIMITS = {
    "RAY_raylet_start_wait_time_s": 1,
    "RAY_agent_register_timeout_ms": 1000,
    "RAY_gcs_server_port_wait_time_s": 1,
    "RAY_py_gcs_connect_timeout_s": 1,
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": 1,
}

# Seconds for Ray and a driver to shut down by themselves. Ray's own limit is 30.
_GRACE = 1.5

# Lines kept of each of Ray's error logs when Ray ends by itself: the first ones hold the cause.
_QUOTED = 5
_LATE = re.compile(r"timed? ?out|deadline exceeded", re.IGNORECASE)  # how Ray says that it was slow

# Seconds to wait for the signal to stop after Ray ended by itself.
_PATIENCE = 60.0


class Plan(NamedTuple):
    """What every node of one cluster has to know; made by cluster.py on the first node."""

    job_id: str
    head: str  # Slurm's name of the head's node
    ip: str  # of the head, as the workers reach it
    gcs_port: int
    dashboard_port: int
    token_file: str
    temp_dir: str  # the same path on each node, on a disk of its own; ours alone
    log_dir: str
    gpus: int  # on each node
    options: dict[str, object]  # more long options of `ray start`; True: without a value
    interface: str = ""  # the network interface that the user wants; empty: by rule
    network: str = ""  # the one that the head is on
    torch_check: str = "auto"  # whether torch has to see the GPUs: auto, always, never
    metrics: bool = False  # whether Ray serves its metrics, to everybody who asks
    ready_timeout: float = 300.0  # seconds in which Ray has to be up
    private: bool = True  # whether Ray has to ask for the token
    services_gpus: int = 0  # of each node, which are not for Ray
    services_cpus: int = 0

    def log_file(self, node: str) -> Path:
        """The log of one node, on the shared file system."""
        return Path(self.log_dir) / f"ray-{self.job_id}-{node}.log"


def ray_command(plan: Plan, node: str, env: Mapping[str, str]) -> list[str]:
    """The `ray start` of this node."""
    options: dict[str, object] = {
        "block": True,
        "disable-usage-stats": True,
        "log-color": "false",
        "node-name": node,
        "num-gpus": _of_ray(env.get("SLURM_GPUS_ON_NODE"), plan.services_gpus) or plan.gpus,
        "num-cpus": _of_ray(env["SLURM_CPUS_ON_NODE"], plan.services_cpus),
        # Ray makes its folder writable for all (0777), so it gets one inside ours.
        "temp-dir": f"{plan.temp_dir}/ray",
        # 0: any free ones, so that clusters which share a node do not collide.
        "min-worker-port": 0,
        "max-worker-port": 0,
        "dashboard-agent-listen-port": 0,
    }
    options.update(_head_options(plan) if node == plan.head else _worker_options(plan, env))
    options.update(plan.options)
    start = [sys.executable, "-B", str(Path(__file__).with_name("cluster_ray.py")), "start"]
    return start + [
        f"--{name}" if value is True else f"--{name}={value}" for name, value in options.items()
    ]


def _of_ray(number: str | None, taken: int) -> str:
    """What services leave of what Slurm gave."""
    return str(int(number) - taken) if number and taken else number or ""


def _head_options(plan: Plan) -> dict[str, object]:
    return {
        "head": True,
        "node-ip-address": plan.ip,
        "port": plan.gcs_port,
        "include-dashboard": "true",
        "dashboard-host": "127.0.0.1",
        "dashboard-port": plan.dashboard_port,
        # The autoscaler has nothing to scale here, and would serve its metrics to anyone.
        "no-monitor": True,
    }


def _worker_options(plan: Plan, env: Mapping[str, str]) -> dict[str, object]:
    return {
        "node-ip-address": own_interface(plan, env).address,
        "address": f"{plan.ip}:{plan.gcs_port}",
    }


def own_interface(plan: Plan, env: Mapping[str, str]) -> Interface:
    """Where the others reach this node.

    Raises:
        OSError: the interface that the user named is not there, or no route leads to the head.
    """
    if env.get("SLURMD_NODENAME") == plan.head:
        return Interface(plan.network, plan.ip, "the head's own choice")
    return choose(plan.interface, env.get("NCCL_SOCKET_IFNAME", ""), plan.ip)


def ray_environment(plan: Plan, env: Mapping[str, str]) -> dict[str, str]:
    """The environment of Ray and of everything that it starts on this node."""
    seconds = int(plan.ready_timeout) + _LATER
    limits = {name: str(seconds * factor) for name, factor in _LIMITS.items()}
    network = own_interface(plan, env).name
    # Gloo would use the address of the host's own name, which may be the loopback's.
    gloo = {"GLOO_SOCKET_IFNAME": network} if network else {}
    given = {name: env[name] for name in env if name not in _NOT_FOR_RAY}
    ours = {**limits, **gloo, **cluster_nccl.of_job(env, plan.gpus, network), **given}
    if plan.services_gpus and "CUDA_VISIBLE_DEVICES" in env:
        ours["CUDA_VISIBLE_DEVICES"] = of_training(env["CUDA_VISIBLE_DEVICES"], plan.services_gpus)
    ours.update(
        # Both by name, on every node and for every driver: nothing depends on what this Ray's
        # defaults are (off before 2.61), nor on a token in the user's home.
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN_PATH=plan.token_file,
        RAY_USAGE_STATS_ENABLED="0",
        # Ray would kill a worker's children before its exit handlers run: W&B's service among them,
        # and with it the last steps of the run. Whatever outlives its worker ends with the job.
        RAY_kill_child_processes_on_worker_exit="0",
        TMPDIR=f"{plan.temp_dir}/t",
        # A fixed port otherwise, the same for each cluster on a node. With -1 the server, which
        # asks for no token, does not start.
        DASHBOARD_METRIC_PORT="0" if plan.metrics else "-1",
        RAY_enable_metrics_collection="1" if plan.metrics else "0",
    )
    return ours


def wants_torch(plan: Plan) -> bool:
    """Whether torch has to see the GPUs before the node counts as up."""
    if plan.torch_check == "auto":
        return plan.gpus > 0 and are_expected()
    return plan.gpus > 0 and plan.torch_check == "always"


class RayNode:
    """What runs on this node: Ray, and beside it, once, the check of the GPUs."""

    def __init__(self, plan: Plan, name: str, env: Mapping[str, str]) -> None:
        self._plan = plan
        self._name = name
        self._env = env
        self._answer = Path(plan.temp_dir) / "torch"
        self.slow = False  # whether Ray ended because it took too long to start

    def run(self, stop_asked: Callable[[float], bool], report: Callable[[str], None]) -> str:
        """Run Ray until it has to stop, or until it ends by itself.

        Returns:
            What went wrong; empty if it had to stop.
        """
        adopt_orphans()
        home = Path(self._plan.temp_dir)
        for old in sweep(home.parent):
            say(f"removed {old}, which a cluster that was killed left here")
        home.mkdir(mode=0o700)  # fails if somebody else made it: never share it
        with hold(home), sampled(self._env if self._plan.gpus else {}):
            try:
                return self._watch(stop_asked, report)
            finally:
                left = end_descendants(_GRACE)
                if left:
                    say(f"processes that belong to others or survive SIGKILL: {left}")
                shutil.rmtree(home, onerror=_complain)

    def _watch(self, stop_asked: Callable[[float], bool], report: Callable[[str], None]) -> str:
        (self._answer.parent / "t").mkdir()
        network = own_interface(self._plan, self._env).name
        fast = cluster_nccl.of_job(self._env, self._plan.gpus, network)
        if fast:
            say(cluster_nccl.said(fast))
        keep_training_cores(self._plan.services_cpus, self._env)
        ray = self._start(ray_command(self._plan, self._name, self._env), None)
        check = self._start_check()
        if check is None:
            report("checked")
        while not stop_asked(3600):
            ended = reap()
            if ray.pid in ended:
                return self._ended(ended[ray.pid])
            if check is not None and check.pid in ended:
                fault = self._judged(ended[check.pid])
                if fault:
                    return fault
                report("checked")
        return ""

    def _ended(self, code: int) -> str:
        """Why Ray ended by itself; keeps the errors of its processes, as their folder goes."""
        own = last_lines(self._plan.log_file(self._name), 1)
        told = []
        for path in sorted(Path(self._plan.temp_dir).glob("ray/session_2*/logs/*.err")):
            told += [f"{path.name}: {line}" for line in first_lines(path, _QUOTED)]
        for line in told:
            say(line)
        self.slow = any(_LATE.search(line) for line in own + told)
        return f"Ray ended by itself, exit code {code}"

    def _start_check(self) -> subprocess.Popen[bytes] | None:
        if not wants_torch(self._plan):
            return None
        program = str(Path(__file__).with_name("cluster_torch.py"))
        with self._answer.open("wb") as out:
            return self._start([sys.executable, "-B", program, str(self._plan.gpus)], out)

    def _start(self, command: list[str], out: IO[bytes] | None) -> subprocess.Popen[bytes]:
        env = ray_environment(self._plan, self._env)
        return subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=out)

    def _judged(self, code: int) -> str:
        answer = self._answer.read_text("utf-8", "replace").strip()
        return answer or (f"the check of its GPUs ended with exit code {code}" if code else "")


def _complain(_function: object, path: str, info: object) -> None:
    say(f"cannot remove {path}: {info}")


def say(text: str) -> None:
    """One line for the node's log."""
    print(f"mnrun: {text}", flush=True)


def main() -> int:
    """Entry point. Exit code 0 when it had to stop, also if Ray had ended before."""
    events = Events([signal.SIGTERM, signal.SIGINT, signal.SIGCHLD])

    def stop_asked(seconds: float) -> bool:
        """Wait for an event. True if this node has to stop."""
        signals, closed = events.wait(seconds, sys.stdin.buffer)
        return closed or signal.SIGTERM in signals or signal.SIGINT in signals

    plan = Plan(**json.loads(sys.argv[1]))
    word = "failed"
    node = os.environ["SLURMD_NODENAME"]
    with os.fdopen(os.dup(1), "w") as report:
        log = plan.log_file(node).open("ab", buffering=0)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)

        def tell(word: str) -> None:
            print(node, word, file=report, flush=True)

        try:
            ray = RayNode(plan, node, os.environ)
            fault = ray.run(stop_asked, tell)
            word = "slow" if ray.slow else word
        except OSError as error:
            fault = f"Ray could not be started: {error}"
        say(fault or "stopped, as asked")
        if not fault:
            return 0
        # It must not end before cluster.py says so: srun would kill all other nodes at once.
        tell(f"{word} {fault}")
        deadline = time.monotonic() + _PATIENCE
        while not stop_asked(deadline - time.monotonic()):
            if time.monotonic() > deadline:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
