"""Measuring the network between the nodes by an all-reduce, before the head is published.

Standard library only, Python 3.8 or later: runs inside the Slurm job, beside cluster.py.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Mapping

from cluster_errors import ClusterError
from cluster_files import last_lines
from cluster_net import reserve_port
from cluster_node import Plan
from cluster_step import PYTHON, srun_command, srun_environment
from torch_gpus import are_expected

Rates = Mapping[str, Any]  # "all": GB/s, "nodes": name -> GB/s

_POLL = 0.2
_TAIL = 20  # lines
_LOOKED_AT = 2000  # lines
_ERROR = re.compile(r"[A-Za-z_.]*(?:Error|Exception)\b")
_CONSEQUENCE = re.compile(
    r"connection (?:closed|reset|refused)|broken pipe|timed? ?out|remote ?error|peer|aborted",
    re.IGNORECASE,
)
# Ranks that srun itself ended after the first failure do not count.
_ENDED = re.compile(r"srun: error: (\S+): tasks? [\d,-]+: (?:Exited|Segmentation|Bus|Aborted)")


def measure(
    plan: Plan,
    nodes: list[str],
    size: int,
    seconds: float,
    wait: Callable[[float], str | None],
) -> Rates | str:
    """Let all ranks of all nodes reduce `size` MiB together, for at most this many seconds.

    Args:
        plan: the cluster's, which is up.
        nodes: its nodes, the head first.
        size: MiB.
        seconds: the bound.
        wait: lets time pass; returns a reason to stop, if one comes up.

    Returns:
        What was measured, or the reason to stop.

    Raises:
        ClusterError: the ranks failed, or did not end in time.
    """
    ranks = len(nodes) * max(1, plan.gpus)
    if ranks == 1:
        return {}
    log = Path(plan.log_dir) / f"allreduce-{plan.job_id}.log"
    with reserve_port() as holder, log.open("wb") as out:
        command = _command(plan, nodes, size, ranks, holder.getsockname()[1])
        # It stays in this process's group: whatever ends the group ends srun too.
        srun = subprocess.Popen(
            command, env=_environment(plan), stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
        try:
            deadline = time.monotonic() + seconds
            while srun.poll() is None and time.monotonic() < deadline:
                reason = wait(_POLL)
                if reason is not None:
                    return reason
            return _judged(srun.poll(), log, seconds, nodes, ranks)
        finally:
            _end(srun)


def slow_nodes(rates: Rates, least: float) -> dict[str, str]:
    """Nodes whose network is slower than `least` GB/s (0: any speed will do): name -> fault."""
    each: Mapping[str, float] = rates.get("nodes", {})
    return {
        node: f"its all-reduce moves {rate:g} GB/s, {least:g} are expected "
        "(ray_cluster_allreduce_min)"
        for node, rate in each.items()
        if rate < least
    }


def described(rates: Rates) -> str:
    """The figures in one line."""
    each = ", ".join(f"{node} {rate:g}" for node, rate in rates["nodes"].items())
    return f"all-reduce: {rates['all']:g} GB/s over all ranks; by node: {each}"


def _command(plan: Plan, nodes: list[str], size: int, ranks: int, port: int) -> list[str]:
    return [
        *srun_command(len(nodes), ranks),
        # Beside the step of Ray, on the same CPUs and GPUs, which are idle.
        "--overlap",
        "--overcommit",
        "--kill-on-bad-exit=1",
        "--label",
        PYTHON,
        "-B",
        str(Path(__file__).with_name("cluster_allreduce.py")),
        "nccl" if plan.gpus and are_expected() else "gloo",
        plan.ip,
        str(port),
        str(size),
        *nodes,
    ]


def _environment(plan: Plan) -> dict[str, str]:
    chosen = {"MNRUN_INTERFACE": plan.interface}
    return {"OMP_NUM_THREADS": "1", **srun_environment(), **chosen}


def _judged(code: int | None, log: Path, seconds: float, nodes: list[str], ranks: int) -> Rates:
    lines = last_lines(log, _TAIL)
    for line in reversed(lines):
        text = line.partition(": ")[2]  # behind the rank that --label puts in front
        if code == 0 and text.startswith("{"):
            rates: Rates = json.loads(text)
            return rates
    how = f"did not end in {seconds:.0f} s" if code is None else f"failed, exit code {code}"
    shown = "\n".join(f"    {line}" for line in lines or ["(nothing)"])
    raise ClusterError(
        f"the all-reduce over all nodes {how} (ray_cluster_allreduce). The last lines of {log}:\n"
        f"{shown}",
        [] if code is None else at_fault(last_lines(log, _LOOKED_AT), nodes, ranks),
    )


def at_fault(lines: list[str], nodes: list[str], ranks: int) -> list[str]:
    """The nodes on which ranks failed by themselves, not because another one did.

    A rank that says nothing of its own is judged by srun, which reports the first end first.
    """
    own = {}  # rank -> its last error
    for line in lines:
        rank, _, text = line.partition(": ")
        if rank.strip().isdigit() and _ERROR.match(text):
            own[int(rank)] = text
    each = ranks // len(nodes)
    blamed = [rank for rank, text in own.items() if not _CONSEQUENCE.search(text)]
    found = {nodes[rank // each] for rank in blamed if rank < ranks}
    ended = _ENDED.search("\n".join(lines))
    if not own and ended:
        found = {ended.group(1)}
    return [node for node in nodes if node in found]


def _end(srun: subprocess.Popen[bytes]) -> None:
    """End the step. Whatever remains of it ends with the job."""
    if srun.poll() is None:
        srun.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            srun.wait(5)
