"""A service of a job on one node: starts it on a free port, asks it whether it is well, ends it.

    services_node.py PLAN.json NUMBER LOG FIRST LAST

It is service NUMBER (from 0) of the plan, LOG the path of its log, with {node}, FIRST and LAST are
nodes of the job. The end of standard input is the word to stop:
services.py holds the other end, so that it comes also when that dies. On standard output it says
`NODE at HOST PORT`, `NODE up SECONDS`, and, when that is over, `NODE failed WHY` (it did not come
up) or `NODE lost WHY`.
Standard library only, Python 3.8 or later: runs inside jobs, once on each node of the service.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cluster_interface import choose
from cluster_net import reserve_port
from cluster_proc import adopt_orphans, end_descendants, reap
from cluster_share import ShareError, keep_service_cores, of_service

_ASK = 5.0  # seconds for an answer
_FIRST, _SLOWEST = 0.1, 5.0  # seconds between two questions while it comes up
_STEADY = 15.0  # and then
_GRACE = 10.0  # seconds until SIGKILL
_STOP_COMES = 1.0  # seconds in which the word to stop may follow the end of the process
_PATIENCE = 60.0  # seconds to wait for that word after a fault
_PR_SET_PDEATHSIG = 1
# They name the training's cluster and ranks, which a service would take for its own.
_NOT_FOR_SERVICES = {
    "RAY_ADDRESS", "RAY_JOB_CONFIG_JSON_ENV_VAR", "RAY_JOB_ID", "RAY_AUTH_TOKEN_PATH",
    "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
    "ROCR_VISIBLE_DEVICES", "MNRUN_TOKEN",
}  # fmt: skip
# No proxy of the environment is between two nodes of a job.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Service(NamedTuple):
    """What a node has to know of it."""

    name: str
    command: list[str]
    peers: list[str]  # the first and the last node of the job
    log: str  # the path of its log, with {node}
    health: str = ""  # a path; empty: it is well once it accepts a connection
    timeout: float = 600.0  # seconds until it has to be up, and that it may be silent then
    gpus: int = 0
    cpus: int = 0
    gpus_behind: int = 0  # of other services, which come after its own
    cpus_behind: int = 0
    environment: Mapping[str, str] = {}
    secrets: Mapping[str, str] = {}  # a variable's name -> the file with its value


class FaultError(Exception):
    """It cannot be started. The message is for the user."""


def planned(file: str, number: int, log: str, peers: list[str]) -> Service:
    """A service as the plan has it. Raises OSError."""
    plan = json.loads(Path(file).read_text("utf-8"))["services"][number]
    own: dict[str, Any] = {part: plan[part] for part in Service._fields if part in plan}
    return Service(**{**own, "log": log, "peers": peers})


def environment(service: Service, host: str, port: int) -> dict[str, str]:
    """The environment of its command. Raises FaultError."""
    env = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_SERVICES}
    env.update({name: filled(text, host, port) for name, text in service.environment.items()})
    env.update({name: _secret(name, path) for name, path in service.secrets.items()})
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    try:
        gpus = of_service(visible, service.gpus, service.gpus_behind)
    except ShareError as error:
        raise FaultError(str(error)) from error
    return {**env, "CUDA_VISIBLE_DEVICES": gpus, "MNRUN_HOST": host, "MNRUN_PORT": str(port)}


def _secret(name: str, path: str) -> str:
    try:
        return Path(path).expanduser().read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise FaultError(f"{path}, for {name}, cannot be read: {error}") from error


def filled(text: str, host: str, port: int) -> str:
    """A text of the command with the address."""
    return text.replace("{host}", host).replace("{port}", str(port))


def _at_home(word: str) -> str:
    return str(Path(word).expanduser()) if word.startswith("~/") else word


def answers(service: Service, host: str, port: int) -> str:
    """Why it does not answer; empty if it does."""
    try:
        if not service.health:
            return _accepts(host, port)
        with _OPENER.open(f"http://{host}:{port}{service.health}", timeout=_ASK) as answer:
            return "" if answer.status < 300 else f"HTTP {answer.status}"
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}"
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))
    except Exception as error:  # noqa: BLE001 - what is no HTTP has many names in http.client
        return f"{type(error).__name__}: {error}"


def _accepts(host: str, port: int) -> str:
    with socket.create_connection((host, port), timeout=_ASK):
        return ""


class Running:
    """A service whose process runs."""

    def __init__(self, service: Service, pid: int, host: str, port: int) -> None:
        self._service, self._pid, self._host, self._port = service, pid, host, port
        self._began = self._asked = time.monotonic()
        self._silent = 0.0  # seconds without an answer, without those of a suspended job
        self._up = False
        self._pause = _FIRST
        self._steady = min(_STEADY, service.timeout / 4)

    def watch(self, stop: Callable[[float], bool], report: Callable[[str], None]) -> str:
        """Until it has to stop, or has a fault: that, as a word and a text."""
        while not stop(self._pause):
            code = reap().get(self._pid)
            if code is not None:
                # Slurm ends the processes of a job in any order.
                return "" if stop(_STOP_COMES) else self._fault(_ended(code))
            why = answers(self._service, self._host, self._port)
            self._note(why, report)
            if self._silent > self._service.timeout:
                return self._fault(f"has not answered for {self._silent:.0f} s ({why})")
        return ""

    def _note(self, why: str, report: Callable[[str], None]) -> None:
        now = time.monotonic()
        passed, self._asked = min(now - self._asked, self._pause + 2 * _ASK), now
        self._silent = self._silent + passed if why else 0.0
        self._pause = self._steady if self._up or not why else min(_SLOWEST, self._pause * 1.5)
        if not why and not self._up:
            self._up = True
            report(f"up {now - self._began:.1f}")

    def _fault(self, text: str) -> str:
        return f"{'lost' if self._up else 'failed'} {text}"


def _ended(code: int) -> str:
    return f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"


def start(service: Service, node: str, host: str, port: int) -> int:
    """Start its command. Returns its process id. Raises FaultError."""
    env = environment(service, host, port)
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        keep_service_cores(service.cpus, service.cpus_behind, os.environ)

    command = [_at_home(filled(word, host, port)) for word in service.command]
    try:
        with Path(service.log.replace("{node}", node)).open("ab") as log:
            return subprocess.Popen(
                command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=prepare,  # noqa: PLW1509 - there is one thread
            ).pid  # fmt: skip
    except OSError as error:
        raise FaultError(f"cannot be started: {error}") from error


def main() -> int:
    """Entry point."""
    node = own_name()
    signals = _Stop()
    adopt_orphans()

    def report(text: str) -> None:
        # The one who reads it may be gone: then the word to stop has come as well.
        try:
            print(node, text, flush=True)
        except OSError:
            signals.gone = True

    try:
        file, number, log, *peers = sys.argv[1:]
        service = planned(file, int(number), log, peers)
        host = own_address(service.peers, node)
        with reserve_port() as held:
            port = held.getsockname()[1]
            pid = start(service, node, host, port)
            report(f"at {host} {port}")
            fault = Running(service, pid, host, port).watch(signals.asked, report)
    except (FaultError, OSError) as error:
        fault = f"failed {error}"
    if fault:
        report(" ".join(fault.split()))
    end_descendants(_GRACE)
    if fault:
        # Otherwise srun would end the service on all other nodes before that is read.
        signals.asked(_PATIENCE)
    return 0


def own_address(peers: list[str], node: str) -> str:
    """Where the others reach this node. Raises OSError."""
    others = [peer for peer in peers if peer != node]
    if not others:
        return "127.0.0.1"
    hint = os.environ.get("NCCL_SOCKET_IFNAME") or os.environ.get("GLOO_SOCKET_IFNAME", "")
    return choose("", hint, others[0]).address


def own_name() -> str:
    """This node, as Slurm calls it."""
    return os.environ.get("SLURMD_NODENAME") or os.uname().nodename.split(".")[0]


class _Stop:
    """The word to stop: the end of standard input, or a signal."""

    def __init__(self) -> None:
        self.gone = False
        self._inbox, outbox = os.pipe()
        os.set_blocking(outbox, False)
        signal.set_wakeup_fd(outbox, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)

    def asked(self, seconds: float) -> bool:
        """Wait for the word, or for the end of a child. True if the word came."""
        if self.gone:
            return True
        ready = select.select([self._inbox, 0], [], [], max(0.0, seconds))[0]
        numbers = set(os.read(self._inbox, 4096)) if self._inbox in ready else set()
        closed = 0 in ready and not os.read(0, 4096)
        self.gone = closed or bool(numbers & {signal.SIGTERM, signal.SIGINT})
        return self.gone


if __name__ == "__main__":
    sys.exit(main())
