"""The sandbox on this machine's GPUs, and mnrun on it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.mnrun.train.plugins.module_utils.sandbox import cluster, fabric, gpus
from ansible_collections.mnrun.train.plugins.module_utils.sandbox.layout import UID, Options

from .variables import for_ranks

_PATIENCE = 5  # how much slower it may be without GPUs
ROOT = Path(__file__).resolve().parents[2]
SITE = "inventory/sandbox"
MNRUN = str(Path(sys.executable).with_name("mnrun"))


class Answer(NamedTuple):
    """What a command of mnrun came to."""

    code: int
    output: str
    seconds: float


class Site:
    """The sandbox that is up; `out` keeps what every command printed."""

    def __init__(self, out: Path, simulated: bool = False) -> None:
        self.out = out
        place = os.environ.get("MNRUN_SANDBOX_DIR", "/var/lib/mnrun-sandbox")
        self.options = cluster.started_with(Options(place))
        self.count = 0
        self.real_enough = self.options.real or simulated

    @property
    def python(self) -> str:
        """The training environment's Python, as this machine sees it."""
        return f"{(self.options.home / 'conda_env').readlink()}/bin/python"

    def run(self, name: str) -> Path:
        """The folder of a run."""
        return self.options.home / "training" / "multinode" / "runs" / name

    def sized(self, given: dict[str, Any]) -> dict[str, Any]:
        """Variables, with what other nodes and GPUs than the inventory's ask for."""
        if not self.options.real or self.options.gpus * self.options.nodes == 2:
            return given
        nodes = ",".join(node.name for node in self.options.compute)
        own = {"mnrun_nodes": self.options.nodes, "mnrun_nodelist": nodes}
        found = {**own, "mnrun_gpus_per_node": self.options.gpus, **given}
        if "sft_options" not in given:
            for name, overrides in for_ranks(self.options.gpus * self.options.nodes).items():
                found[name] = {**overrides, **given.get(name, {})}
        return found

    @property
    def gpus(self) -> int:
        """The GPUs that a job has on each node."""
        return self.options.gpus if self.options.real else 1

    def patience(self, limit: float) -> float:
        """A limit for GPUs, or for a rehearsal without them."""
        return limit if self.options.real else limit * _PATIENCE

    def mnrun(self, *words: str, run: str, limit: float, **variables: Any) -> Answer:
        """Run a command of mnrun on a run to its end. TimeoutExpired after `limit` seconds."""
        with self.started(*words, run=run, **variables) as process:
            return self.ended(process, f"{words[0]}-{run}", limit)

    def plain(self, *words: str, limit: float) -> Answer:
        """The same for a command without a run."""
        with _started(words) as process:
            return self.ended(process, words[0], limit)

    def ended(self, process: subprocess.Popen[str], name: str, limit: float) -> Answer:
        """Wait for a command, and keep what it printed."""
        begun = time.monotonic()
        try:
            output, _ = process.communicate(timeout=limit)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        seconds = round(time.monotonic() - begun, 1)
        self.count += 1
        log = self.out / f"{self.count:02}-{name}.log"
        log.write_text(output, encoding="utf-8")
        return Answer(process.returncode, output, seconds)

    def started(
        self, *words: str, run: str, site: str | Path = SITE, **variables: Any
    ) -> subprocess.Popen[str]:
        """Start a command of mnrun on a run, in a process group of its own."""
        given = self.sized(variables)
        extra = ["-e", json.dumps(given)] if given else []
        return _started([*words, "--run", run, "-i", str(site), *extra])

    def shell(self, command: str, limit: float = 60) -> str:
        """What a command prints on the login node."""
        ssh = ["ssh", "-F", str(self.options.path("ssh_config")), "login", command]
        return subprocess.run(
            ssh, capture_output=True, text=True, check=True, timeout=limit
        ).stdout  # fmt: skip

    def jobs(self) -> int:
        """How many jobs Slurm has had."""
        return len(self.shell("sacct -X -n -o jobid").split())

    def rank(self, number: int) -> int:
        """The process of a rank of the trainer, once it is there."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for pid in self.pids():
                if _is_rank(pid, number) and not _is_rank(_parent(pid), number):
                    return pid
            time.sleep(0.1)
        raise TimeoutError(f"rank {number} is not there after 60 s")

    def pids(self) -> list[int]:
        """The processes on the compute nodes."""
        nodes = {_network(fabric.find_node(self.options, node)) for node in self.options.compute}
        every = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
        return [pid for pid in every if _network(pid) in nodes - {""}]

    def device(self, node: int, mode: str) -> None:
        """Change the mode of the GPUs of a compute node, by its place."""
        name = self.options.compute[node]
        pid = fabric.find_node(self.options, name)
        own = gpus.share(self.options, name, gpus.numbers())
        enter = ["nsenter", "--target", str(pid), "--mount", "chmod", mode]
        subprocess.run([*enter, *(f"/dev/nvidia{n}" for n in own)], check=True, timeout=30)


def _started(words: Sequence[str]) -> subprocess.Popen[str]:
    os.environ["MNRUN_YES"] = "1"  # no one is there to be asked
    return subprocess.Popen(
        [MNRUN, *words], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def _network(pid: int | None) -> str:
    """Which network a process has: each node has its own. Empty if it is gone."""
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return ""


def _is_rank(pid: int, number: int) -> bool:
    """Whether a process of the cluster's user was started by torchrun as this rank."""
    try:
        path = Path(f"/proc/{pid}/environ")
        return path.stat().st_uid == UID and f"RANK={number}" in path.read_text(
            encoding="utf-8", errors="replace"
        ).split("\0")
    except OSError:
        return False


def _parent(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    return int(re.findall(r"^PPid:\s+(\d+)", text, re.MULTILINE)[0])
