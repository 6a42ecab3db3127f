"""The steps of a job that run its services: one srun for each, and what its nodes report.

Standard library only, Python 3.8 or later: runs inside jobs, beside services.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from cluster_files import last_lines
from cluster_net import node_names
from cluster_srun import PYTHON, srun_command, srun_environment

_WORDS = frozenset({"at", "up", "failed", "lost"})
_LINES = 10  # of its log that are shown
_SHORTEST = 4  # characters of a secret that are looked for in it


class ServicesError(Exception):
    """A service did not come up, or is lost: that, its node, and the end of its log."""

    def __init__(self, name: str, node: str, text: str, log: Path | None, was_up: bool) -> None:
        self.name, self.node, self.was_up = name, node, was_up
        where = f" on {node}" if node else ""
        self.lines = last_lines(log, _LINES) if log else []
        told = (
            f" The last lines of {log}:"
            if self.lines
            else f" Its log is empty: {log}."
            if log
            else ""
        )
        super().__init__(f"The service {name}{where} {text}.{told}")


class Endpoint(NamedTuple):
    """Where a service answers on one node."""

    host: str
    port: int
    up: float | None  # seconds until it did; None if it has not yet

    @property
    def address(self) -> str:
        """Its URL."""
        return f"http://{self.host}:{self.port}"


class Step:
    """One service on all its nodes."""

    def __init__(
        self, plan: dict[str, Any], job_nodes: list[str], logs: str, source: tuple[str, int]
    ) -> None:
        """`source`: the file that has the plan on each node as well, and its place in that."""
        self.name, self.timeout = str(plan["name"]), float(plan["timeout"])
        self._secrets = list((plan.get("secrets") or {}).values())
        self.nodes = [job_nodes[place] for place in plan["nodes"]]
        self.endpoints: dict[str, Endpoint] = {}
        # Several attempts may have one job: those of PPO on a Ray cluster, for example.
        job = f"{os.environ.get('SLURM_JOB_ID', '0')}-{os.environ['MNRUN_ATTEMPT']}"
        self._log = f"{logs}/service-{self.name}-{job}-{{node}}.log"
        self._process = self._start(plan, job_nodes, source)
        self.report = cast("IO[bytes]", self._process.stdout)
        os.set_blocking(self.report.fileno(), False)
        self._rest = b""

    def _start(
        self, plan: dict[str, Any], job_nodes: list[str], source: tuple[str, int]
    ) -> subprocess.Popen[bytes]:
        program = str(Path(__file__).with_name("services_node.py"))
        # Everyone on a node can read these words, so what the service is stands in a file.
        words = [source[0], str(source[1]), self._log, job_nodes[0], job_nodes[-1]]
        command = [*self._step(plan, own_node(job_nodes)), "-B", program, *words]
        pipe = subprocess.PIPE
        # In a session of its own: who ends the training's processes leaves it to this one to end.
        return subprocess.Popen(
            command, env=srun_environment(), stdin=pipe, stdout=pipe, bufsize=0,
            start_new_session=True,
        )  # fmt: skip

    def _step(self, plan: dict[str, Any], here: str) -> list[str]:
        """What starts a Python program on each node."""
        if not shutil.which("srun"):  # in an image
            if self.nodes != [here]:
                raise ServicesError(
                    self.name, ", ".join(self.nodes), "cannot be started from inside an image, "
                    f"where there is no srun, except on {here}", None, was_up=False,
                )  # fmt: skip
            return [sys.executable]
        count = len(self.nodes)
        more = [f"--mem={plan['memory']}"] if plan.get("memory") else []
        nodes = f"--nodelist={','.join(self.nodes)}"
        return [
            *srun_command(count, count),
            "--overlap",
            "--kill-on-bad-exit=1",
            nodes,
            *more,
            PYTHON,
        ]

    def log(self, node: str) -> Path:
        """Its log on a node."""
        return Path(self._log.replace("{node}", node))

    def redacted(self, lines: list[str]) -> list[str]:
        """Lines of its log without the values of its secrets, as far as they can be read here."""
        for path in self._secrets:
            for secret in _lines_of(path):
                lines = [line.replace(secret, "***") for line in lines]
        return lines

    @property
    def is_up(self) -> bool:
        """It answers on all its nodes."""
        return set(self.endpoints) == set(self.nodes) and not self.missing()

    def missing(self) -> list[str]:
        """The nodes on which it does not answer yet."""
        found = ((node, self.endpoints.get(node)) for node in self.nodes)
        return [node for node, one in found if one is None or one.up is None]

    def take(self) -> None:
        """Read what the nodes report. Raises ServicesError for a fault."""
        try:
            block = os.read(self.report.fileno(), 65536)
        except BlockingIOError:
            return
        if not block:
            raise self._ended()
        *lines, self._rest = (self._rest + block).split(b"\n")
        for line in lines:
            self._line(line.decode("utf-8", "replace"))

    def _line(self, line: str) -> None:
        node, _, rest = line.partition(" ")
        word, _, text = rest.partition(" ")
        if node not in self.nodes or word not in _WORDS:
            return  # a site's own greeting, for one
        if word == "at":
            host, _, port = text.partition(" ")
            self.endpoints[node] = Endpoint(host, int(port), None)
        elif word == "up":
            self.endpoints[node] = self.endpoints[node]._replace(up=float(text))
        else:
            raise ServicesError(self.name, node, text, self.log(node), was_up=word == "lost")

    def _ended(self) -> ServicesError:
        """srun ended, as it does when the program on a node is killed, or a node is lost."""
        code = self.exit_code(5.0)
        return ServicesError(
            self.name, ", ".join(self.nodes), f"is lost: its step ended with exit code {code}",
            self.log(self.nodes[0]), was_up=self.is_up,
        )  # fmt: skip

    def end(self) -> None:
        """Give the word to stop."""
        cast("IO[bytes]", self._process.stdin).close()

    def exit_code(self, seconds: float) -> int | None:
        """Wait for its end; None if it does not end."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """End it without waiting for its nodes."""
        self._process.terminate()


def _lines_of(secret: str) -> list[str]:
    try:
        text = Path(secret).expanduser().read_text("utf-8")
    except (OSError, ValueError):
        return []
    return [line.strip() for line in text.splitlines() if len(line.strip()) >= _SHORTEST]


def nodes_of_job() -> list[str]:
    """The names of the job's nodes. Where scontrol is missing, as in an image, this one alone is
    known by name."""
    given = os.environ.get("SLURM_JOB_NODELIST", "")
    if given and shutil.which("scontrol"):
        return node_names(given)
    count = int(os.environ.get("SLURM_JOB_NUM_NODES") or 1)
    return [own_node([]), *(f"node {number}" for number in range(2, count + 1))]


def own_node(nodes: list[str]) -> str:
    """This node, as Slurm calls it."""
    name = os.environ.get("SLURMD_NODENAME") or os.uname().nodename.split(".")[0]
    return name if not nodes or name in nodes else nodes[0]
