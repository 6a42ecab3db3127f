"""Watching one Ray cluster: until it is up, until there is a reason to end it, and its end.

Standard library only, Python 3.8 or later: runs inside the Slurm job, beside cluster.py.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from typing import Any

from cluster_errors import ClusterError
from cluster_files import last_lines
from cluster_net import Dashboard, NoAnswerError
from cluster_node import Plan
from cluster_proc import Events
from cluster_step import Step, clean_up, srun_messages

STOPPING = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)
_POLL = 0.2  # seconds between two looks while the cluster comes up
_LOOK = 10.0  # seconds between two looks for jobs, at most
_SILENCE = 600.0  # seconds without an answer of the dashboard after which the head is lost
_STOP = 10.0  # seconds that all nodes get to stop; Slurm ends what is left with the job
_GATHER = 4.0  # seconds after a node's first bad word in which others may say theirs
_JUDGE = 30.0  # the same, while a node has not reported on its GPUs


def node_faults(expected: list[str], gpus: int, seen: list[dict[str, Any]]) -> dict[str, str]:
    """What the cluster still lacks: node name -> fault. Empty when all nodes are up."""
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


def lost_nodes(expected: list[str], seen: list[dict[str, Any]]) -> dict[str, str]:
    """Nodes that were up and that Ray has given up: node name -> fault."""
    alive = {node.get("node_name") for node in seen if node.get("state") == "ALIVE"}
    return {name: "Ray has lost it" for name in expected if name not in alive}


def is_busy(jobs: list[dict[str, Any]]) -> bool:
    """Whether any Ray job or driver runs or is about to."""
    return any(job.get("status") in {"PENDING", "RUNNING"} for job in jobs)


class ClusterWatch:
    """One Ray cluster whose step has just been started."""

    _slow: frozenset[str] = frozenset()  # nodes whose Ray took too long to start

    def __init__(
        self, plan: Plan, nodes: list[str], step: Step, events: Events, dashboard: Dashboard
    ) -> None:
        self._plan = plan
        self._nodes = nodes
        self._step = step
        self._events = events
        self._dashboard = dashboard
        self._closed = False  # to those without the token
        self._checked: set[str] = set()  # nodes that found nothing wrong with themselves
        self._faults: dict[str, str] = {}  # of the last look

    def until_ready(self, seconds: float) -> str | None:
        """Wait for all nodes. Returns a reason to stop before that, if one comes up.

        Raises:
            ClusterError: not all are there in time, the step ended, or Ray asks for no token.
        """
        deadline = time.monotonic() + seconds
        while True:
            self._faults = self._look()
            if not self._faults:
                return None
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"the Ray cluster is not complete after {seconds:.0f} s "
                    f"(ray_cluster_ready_timeout).\n{self._evidence(self._faults)}",
                    self._faults,
                    slow=True,
                )
            reason = self.wait(_POLL)
            if reason is not None:
                return reason

    def _look(self) -> dict[str, str]:
        try:
            faults = node_faults(self._nodes, self._plan.gpus, self._dashboard.nodes())
            self._refuse_if_open()
        except NoAnswerError as error:
            # Until the head answers, nothing is known of the others.
            return {self._plan.head: f"the dashboard does not answer ({error})"}
        unchecked = (name for name in self._nodes if name not in {*faults, *self._checked})
        return {**faults, **dict.fromkeys(unchecked, "torch has not reported what it sees")}

    def _refuse_if_open(self) -> None:
        """Look once whether the cluster asks for its token. Raises ClusterError if not."""
        if not self._closed and self._plan.private and self._dashboard.is_open():
            raise ClusterError(no_tokens(self._dashboard.ray_version(), self._plan.head))
        self._closed = True

    def until_idle(self, seconds: float, linger: float) -> str:
        """Watch until there is a reason to stop: a signal, or no Ray job for this many seconds.

        Args:
            seconds: until the first job comes (0: for ever).
            linger: once one has run (0: for ever).

        Raises:
            ClusterError: a node is lost, or the head has been silent for too long.
        """
        self._faults = {}
        busy_at = answer_at = time.monotonic()
        patience, name = seconds, "ray_cluster_idle_timeout"
        while True:
            reason = self.wait(min(_LOOK, patience / 4) if patience else _LOOK)
            if reason is not None:
                return reason
            now = time.monotonic()
            try:
                jobs = self._dashboard.jobs()
                self._refuse_loss()
                answer_at = now
            except NoAnswerError as error:
                fault = f"the dashboard has not answered for {_SILENCE:.0f} s ({error})"
                if now - answer_at > _SILENCE:
                    evidence = self._evidence({self._plan.head: fault})
                    raise ClusterError(f"the head is lost.\n{evidence}") from error
                continue
            if jobs and patience != linger:
                patience, name = linger, "ray_cluster_ppo_linger"
            if is_busy(jobs):
                busy_at = now
            elif patience and now - busy_at > patience:
                return f"no Ray job has run for {patience:.0f} s ({name})"

    def _refuse_loss(self) -> None:
        """Raise ClusterError if Ray itself has given a node up, which may well live: one that
        hangs, or that the others cannot reach."""
        self.refuse(lost_nodes(self._nodes, self._dashboard.nodes()), "is lost")

    def refuse(self, faults: dict[str, str], how: str) -> None:
        """Raise ClusterError if there are any faults. `how`: what the cluster is, then."""
        if faults:
            text = f"the Ray cluster {how}.\n{self._evidence(faults)}"
            raise ClusterError(text, faults, slow=self._slow.issuperset(faults))

    def end(self) -> None:
        """End Ray on all nodes, and wait for it."""
        self._step.word.close()
        code = self._step.exit_code(_STOP)
        if code is None:
            say(f"some nodes have not stopped after {_STOP:.0f} s; Slurm ends them")
            self._step.srun.terminate()
        elif code != 0:
            clean_up(self._plan, len(self._nodes))

    def wait(self, seconds: float) -> str | None:
        """Let time pass. Returns a reason to stop, if one comes up.

        Raises:
            ClusterError: a node is lost.
        """
        signals, spoke = self._events.wait(seconds, self._step.report)
        for number in signals:
            if number in STOPPING:
                return f"asked to ({number.name})"
        faults = self._heard() if spoke else {}
        if faults:
            self._gather(faults)
        self.refuse(faults, "is lost")
        return None

    def _heard(self) -> dict[str, str]:
        """Take in one line of the step. Returns the fault that it tells of, if it does.

        Raises:
            ClusterError: srun ended.
        """
        line = self._step.report.readline().decode("utf-8", "replace")
        if not line:
            raise self._ended()
        node, _, rest = line.strip().partition(" ")
        word, _, fault = rest.partition(" ")
        if node not in self._nodes or word not in {"checked", "failed", "slow"}:
            say(line.strip())  # a site's own greeting, for one
            return {}
        if word == "checked":
            self._checked.add(node)
            return {}
        if word == "slow":
            self._slow |= {node}
        return {node: fault}

    def _gather(self, faults: dict[str, str]) -> None:
        """Wait a moment for other nodes that fail for the same reason, so that all are named."""
        began = time.monotonic()
        while len(faults) < len(self._nodes):
            silent = set(self._nodes) - self._checked - set(faults)
            left = began + (_JUDGE if silent else _GATHER) - time.monotonic()
            signals, spoke = self._events.wait(left, self._step.report)
            if left <= 0 or any(number in STOPPING for number in signals):
                return
            try:
                faults.update(self._heard() if spoke else {})
            except ClusterError:
                return  # srun ended: there will be no more reports

    def _ended(self) -> ClusterError:
        code = self._step.exit_code(_STOP)
        messages = "".join(f"\n    {line}" for line in srun_messages())
        words = f"the Ray cluster is lost: srun ended, exit code {code}."
        words += f" It reported:{messages}" if messages else ""
        missing = self._faults if len(self._faults) < len(self._nodes) else {}
        return ClusterError("\n".join(filter(None, [words, self._evidence(missing)])), missing)

    def _evidence(self, faults: Mapping[str, str]) -> str:
        """The faulty nodes, each with the end of its log."""
        lines: list[str] = []
        for name, fault in faults.items():
            log = self._plan.log_file(name)
            lines.append(f"{name}: {fault}. The last lines of {log}:")
            lines += [f"    {line}" for line in last_lines(log, 20) or ["(nothing)"]]
        return "\n".join(lines)


def no_tokens(version: str, head: str) -> str:
    """Why a Ray without token authentication is refused, and what to do."""
    return (
        f"Ray {version} answers without the token: everybody on {head}, and on all that reaches "
        "its network, could run programs as you. Tokens need Ray 2.52 or later; install that in "
        "the environment (environment_conda_prefix). If no one else can reach these nodes, "
        "ray_cluster_allow_open lets it run as it is."
    )


def say(text: str) -> None:
    """One line for the job's log."""
    print(f"[ray] {text}", flush=True)
