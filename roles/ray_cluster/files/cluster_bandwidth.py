"""Trying GPUs and network of all nodes by an all-reduce, before a training uses them.

One srun starts a rank for each GPU (cluster_allreduce.py). What the ranks report is followed here:
which GPU is refused, which node is late, or silent, and how fast they are.
Standard library only, Python 3.8 or later: runs inside the Slurm job.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Mapping, NamedTuple

from cluster_errors import ClusterError
from cluster_files import last_lines
from cluster_net import reserve_port
from cluster_reports import Reports, Wanted
from cluster_srun import PYTHON, srun_command, srun_environment

Rates = Mapping[str, Any]  # "all": GB/s, "nodes": name -> GB/s

_POLL = 0.2
_TAIL = 20  # lines
_LOOKED_AT = 2000  # lines
# Seconds. How much later than the first a rank may be ready (and as a multiple of the first one's
# time: file systems are slow where many import torch at once); how long one may be silent then; how
# long others are waited for that may have a fault too.
_LATE, _LATE_FACTOR = 60.0, 5
_SILENT = 20.0
_GATHER = 10.0
_SLOW = 3  # times slower than most nodes
_ERROR = re.compile(r"[A-Za-z_.]*(?:Error|Exception)\b")
_CONSEQUENCE = re.compile(
    r"connection (?:closed|reset|refused)|broken pipe|timed? ?out|remote ?error|peer|aborted",
    re.IGNORECASE,
)
# Ranks that srun itself ended after the first failure do not count.
_ENDED = re.compile(r"srun: error: (\S+): tasks? [\d,-]+: (?:Exited|Segmentation|Bus|Aborted)")


class Found(NamedTuple):
    """What came of it."""

    rates: Rates  # empty with one rank
    seconds: float
    ready: dict[str, float]  # node -> seconds until its last rank was ready
    warnings: dict[str, list[str]]  # node -> what there is to say of it
    transport: str  # as NCCL calls it; empty if it is not known
    sockets: dict[str, str]  # the variables that the ranks set


class TrialError(ClusterError):
    """GPUs or network are not fit; `faults` are those of nodes, if it is clear which."""

    def __init__(self, message: str, faults: Mapping[str, list[str]]) -> None:
        super().__init__(message, faults)
        self.faults = faults


def measure(wanted: Wanted, wait: Callable[[float], str | None]) -> Found | str:
    """Let all ranks of all nodes look at their GPUs, and reduce together.

    Args:
        wanted: what is to be tried.
        wait: lets time pass; returns a reason to stop, if one comes up.

    Returns:
        What was found, or the reason to stop.

    Raises:
        TrialError: a GPU or the network is not fit.
    """
    began = time.monotonic()
    with reserve_port() as holder, wanted.log.open("wb") as out:
        command = _command(wanted, holder.getsockname()[1])
        # It stays in this process's group: whatever ends the group ends srun too.
        srun = subprocess.Popen(
            command, env=_environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
        try:
            reports = Reports(wanted)
            while srun.poll() is None:
                reports.update()
                _judge(reports)
                reason = wait(_POLL)
                if reason is not None:
                    return reason
            reports.update()
            _refuse(reports.gathered("faults"), "")
            if srun.returncode or reports.missing("done"):
                raise _failed(wanted, srun.returncode)
            return _found(reports, round(time.monotonic() - began, 1))
        finally:
            _end(srun)


def _judge(reports: Reports) -> None:
    """Raise TrialError if it cannot end well any more."""
    seconds = reports.seconds
    ready, missing = reports.at("ready"), reports.missing("ready")
    faults = reports.gathered("faults")
    first = min(reports.heard.values(), default=0.0)
    if faults and (not missing or seconds - first > _GATHER):
        _refuse(faults, "")
    if ready and missing:
        least = min(report["seconds"] for report in ready.values())
        late = seconds - least
        if late > max(_LATE, _LATE_FACTOR * least):
            text = f"it is not ready for the all-reduce {late:.0f} s after the first node"
            _refuse(reports.faults(missing, text), "is late for")
    if ready and not missing and not faults:
        silent = {rank for rank, at in reports.heard.items() if seconds - at > _SILENT}
        text = f"it does not answer in the all-reduce before the training, for {_SILENT:.0f} s now"
        _refuse(reports.faults(silent & reports.missing("done"), text), "is silent in")
    if seconds > reports.wanted.seconds:
        raise _failed(reports.wanted, None, _unfinished(reports))


def _refuse(faults: Mapping[str, list[str]], how: str) -> None:
    if faults:
        each = "\n".join(f"{node}: {text}" for node, texts in faults.items() for text in texts)
        raise TrialError(f"a node {how or 'fails'} the all-reduce before the training.\n{each}",
                         faults)  # fmt: skip


def _unfinished(reports: Reports) -> set[str]:
    """The nodes that are behind the others, if not all are."""
    for name in ("ready", "joined", "pair", "all"):
        missing = reports.missing(name)
        if missing and reports.at(name) and (name != "pair" or len(reports.wanted.nodes) > 2):
            return {reports.node(rank) for rank in missing}
    return set()


def _found(reports: Reports, seconds: float) -> Found:
    ready: dict[str, float] = {}
    for rank, report in reports.at("ready").items():
        node = reports.node(rank)
        ready[node] = max(ready.get(node, 0.0), report["seconds"])
    rates = _rates(reports)
    warnings = reports.gathered("warnings")
    for node, rate in rates.get("nodes", {}).items():
        if rate < _median(list(rates["nodes"].values())) / _SLOW:
            text = f"its all-reduce moves {rate:g} GB/s, less than a third of what most nodes do"
            warnings.setdefault(node, []).append(text)
    carried = {rank: each for rank, each in reports.at("all").items() if each.get("transport")}
    for rank, each in carried.items():
        if each["missed"]:
            warnings.setdefault(reports.node(rank), []).append(each["missed"])
    sockets = [each["sockets"] for each in reports.at("ready").values()]
    return Found(
        rates, seconds, ready, warnings,
        "; ".join(dict.fromkeys(each["transport"] for each in carried.values())),
        sockets[0] if all(sockets) else {},
    )  # fmt: skip


def _rates(reports: Reports) -> Rates:
    everyone = reports.at("all")
    if not everyone:
        return {}
    rate = everyone[0]["gb_per_s"]
    nodes = dict.fromkeys(reports.wanted.nodes, rate)
    pairs = {reports.node(rank): each["gb_per_s"] for rank, each in reports.at("pair").items()}
    return {"all": rate, "nodes": {**nodes, **pairs}}


def _median(rates: list[float]) -> float:
    return sorted(rates)[len(rates) // 2]


def slow_nodes(rates: Rates, least: float) -> dict[str, str]:
    """Nodes whose network is slower than `least` GB/s (0: any speed will do): name -> fault."""
    each: Mapping[str, float] = rates.get("nodes", {})
    return {
        node: f"its all-reduce moves {rate:g} GB/s, {least:g} are expected "
        "(ray_cluster_allreduce_min)"
        for node, rate in each.items()
        if rate < least
    }


def described(rates: Rates, transport: str) -> str:
    """The figures in one line."""
    each = ", ".join(f"{node} {rate:g}" for node, rate in rates["nodes"].items())
    by = f" by {transport}" if transport else ""
    return f"all-reduce: {rates['all']:g} GB/s over all ranks{by}; by node: {each}"


def _command(wanted: Wanted, port: int) -> list[str]:
    plan = {
        "backend": "nccl" if wanted.nccl else "gloo",
        "address": wanted.address,
        "port": port,
        "mib": wanted.mib,
        "nodes": wanted.nodes,
        "interface": wanted.interface,
        "check": wanted.check,
        "seconds": wanted.seconds,
    }
    return [
        *srun_command(len(wanted.nodes), wanted.ranks),
        # Perhaps beside the step of Ray, on the same CPUs and GPUs, which are idle.
        "--overlap",
        "--overcommit",
        "--kill-on-bad-exit=1",
        "--label",
        PYTHON,
        "-B",
        str(Path(__file__).with_name("cluster_allreduce.py")),
        json.dumps(plan),
    ]


def _environment() -> dict[str, str]:
    return {"OMP_NUM_THREADS": "1", **srun_environment()}


def _failed(wanted: Wanted, code: int | None, nodes: set[str] | None = None) -> TrialError:
    how = f"did not end in {wanted.seconds:.0f} s" if code is None else f"failed, exit code {code}"
    lines = [line for line in last_lines(wanted.log, _LOOKED_AT) if '{"at": "alive"' not in line]
    shown = "\n".join(f"    {line}" for line in lines[-_TAIL:] or ["(nothing)"])
    named = nodes if nodes is not None else at_fault(lines, wanted.nodes, wanted.ranks)
    text = f"the all-reduce over all nodes {how}"
    return TrialError(f"{text}. The last lines of {wanted.log}:\n{shown}",
                      {node: [text] for node in wanted.nodes if node in named})  # fmt: skip


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
