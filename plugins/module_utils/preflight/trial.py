"""A short job over the nodes of a training, which looks at them and leaves nothing behind."""

from __future__ import annotations

import json
import re
import secrets
import select
import shutil
import signal
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, NamedTuple

from ..base.clock import Clock, Deadline
from ..base.errors import MnrunError
from ..base.finding import FAULT, OK, WARNING, Finding
from ..base.text import listed, plural
from ..slurm.client import SlurmClient, own_words
from ..slurm.directives import with_directives
from ..slurm.nodelist import names_in
from ..slurm.parse import parse_submitted
from .login import existing

MINUTES = 10
"""The job's own time limit: the all-reduce may take that long on a slow file system."""

_PAUSE = 1.0  # seconds
_APART = 30.0  # seconds between the clocks of two nodes
_WAITS = ("PENDING", "CONFIGURING", "REQUEUED")
_LIVE = (*_WAITS, "RUNNING", "COMPLETING", "SUSPENDED")
_SCRIPT = r"""#!/bin/bash
# Looks at the nodes, for `mnrun doctor --deep`.
set -uo pipefail
export MNRUN_RECORD={folder} MNRUN_ATTEMPT=1
cd "$MNRUN_RECORD" || exit 1
source ./activate.sh > activation 2>&1 || exit 1
host=${{MNRUN_HOST_PYTHON:-$(command -v python3 || command -v python)}}
RENDEZVOUS_HOST=$("$host" -B sft_node.py address 2> address) || exit 1
export RENDEZVOUS_HOST
plan=$("$host" -c 'import json, os, sys
print(json.dumps({{**json.load(open("plan.json")), "address": os.environ["RENDEZVOUS_HOST"]}}))')
unset SLURM_CPUS_PER_TASK SRUN_CPUS_PER_TASK SLURM_TRES_PER_TASK
# As text: a node may not have the folder.
srun --nodes="$SLURM_NNODES" --ntasks="$SLURM_NNODES" --ntasks-per-node=1 --cpu-bind=none \
  --mpi=none --export=ALL --chdir=/ --wait=0 \
  bash -c 'program=$1; shift; exec $(command -v python3 || command -v python) -c "$program" "$@"' \
  mnrun "$(cat trial_node.py)" "$plan" > nodes 2> nodes.err
"$host" -B sft_gate.py {gpus} always > gate 2> gate.err
echo $? > gate.code
"""


class Trial(NamedTuple):
    """What is tried: the texts of `files` by name, and the activation script."""

    activation: str
    files: Mapping[str, str]
    packages: list[str]
    ports: list[int]
    gpus: int
    seconds: float  # to wait for the job to start and to end


class Interrupted(MnrunError):  # noqa: N818 - not an error of anything
    """The controller is gone, or wants this to end."""


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Signals that end this process raise Interrupted, so that it cleans up before; the function
    does so if no one reads its answer any more."""

    def end(number: int, _frame: Any) -> None:
        raise Interrupted(f"ended by {signal.Signals(number).name}")

    before = {
        one: signal.signal(one, end) for one in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
    }
    output = select.poll()
    output.register(1, select.POLLERR | select.POLLHUP)

    def look() -> None:
        if any(event & (select.POLLERR | select.POLLHUP) for _, event in output.poll(0)):
            raise Interrupted("the controller is gone")

    try:
        yield look
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def try_nodes(
    parent: Path, sbatch: Mapping[str, str], trial: Trial, client: SlurmClient, clock: Clock
) -> list[Finding]:
    """Run the job, and say what it found. The folder, on the shared file system below `parent`, and
    the job are gone afterwards, whatever happens."""
    with interruptible() as look:
        folder = Path(tempfile.mkdtemp(prefix=".mnrun-doctor-", dir=str(existing(parent))))
        try:
            token = secrets.token_hex(8)
            count = int(sbatch.get("nodes", "1"))
            _fill(folder, token, count, trial)
            ended = _run(folder, sbatch, trial, client, clock, look)
            return ended or list(_found(folder, token, sbatch, trial))
        finally:
            for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            shutil.rmtree(str(folder), ignore_errors=True)


def _fill(folder: Path, token: str, count: int, trial: Trial) -> None:
    plan = {"folder": str(folder), "token": token, "packages": trial.packages,
            "ports": trial.ports, "nodes": count}  # fmt: skip
    own = {"activate.sh": trial.activation, "canary": token, "plan.json": json.dumps(plan)}
    for name, text in {**trial.files, **own}.items():
        (folder / name).write_text(text, encoding="utf-8")


def _run(
    folder: Path, sbatch: Mapping[str, str], trial: Trial, client: SlurmClient, clock: Clock,
    look: Callable[[], None],
) -> list[Finding]:  # fmt: skip
    """Wait for the end of the job. What kept it from ending, if anything did."""
    options = {**sbatch, "time": f"0:{MINUTES}:00", "job-name": "mnrun-doctor"}
    options = {name: value for name, value in options.items() if name not in ("signal", "time-min")}
    options.update(output=str(folder / "out"), error=str(folder / "err"), chdir="/")
    script = _SCRIPT.format(folder=folder, gpus=trial.gpus)
    done = client.sbatch(["--parsable", "--no-requeue"], with_directives(script, options))
    job = parse_submitted(done.out) if done.code == 0 else None
    if job is None:
        said = " ".join(own_words("sbatch", done).split())[:300] or "sbatch did not answer"
        return [Finding(FAULT, "nodes", f"Slurm refuses the job that looks at the nodes: {said}")]
    deadline, state = Deadline(clock, trial.seconds), "PENDING"
    try:
        while not deadline.over():
            look()
            rows = client.show(job.job_id).rows
            state, reason = (rows[0].state, rows[0].reason) if rows else (state, "")
            if rows is not None and (not rows or state not in _LIVE):
                return []
            deadline.pause(_PAUSE)
    finally:
        client.cancel(job.job_id, "", "")
    waited = f"after {trial.seconds:.0f} s"
    why = f"still waits ({reason})" if state in _WAITS else f"has not ended (it is {state})"
    text = f"the job that looks at the nodes {why} {waited}, so they were not looked at"
    return [Finding(WARNING, "nodes", f"{text}: try again, or with -e mnrun_nodes=1")]


def _found(folder: Path, token: str, sbatch: Mapping[str, str], trial: Trial) -> Iterator[Finding]:
    failed = _before(folder)
    if failed:
        yield failed
        return
    nodes = reports(_read(folder, "nodes"))
    yield from of_nodes(folder, token, nodes, int(sbatch.get("nodes", "1")), trial.ports)
    said = " ".join(_read(folder, "nodes.err").split())[:300]
    if len(nodes) < int(sbatch.get("nodes", "1")):
        asked = names_in(sbatch.get("nodelist", ""))
        silent = [name for name in asked if name not in {one["node"] for one in nodes}]
        who = listed(silent) if silent else "a node"
        yield Finding(FAULT, "nodes", f"{who} did not say what it sees: {said or 'no reason'}")
    yield from _of_gate(folder)


def _before(folder: Path) -> Finding | None:
    """What kept the job from looking at all; what a node prints beside its address does not."""
    if (folder / "nodes").exists():
        return None
    if not (folder / "activation").exists():
        said = " ".join(_read(folder, "err").split())[-300:]
        text = f"the first node of the job did not see {folder.parent}, or could not write there"
        return Finding(FAULT, "nodes", f"{text}{': ' + said if said else ''}")
    if not (folder / "address").exists():
        said = " ".join(_read(folder, "activation").split())[-300:]
        return Finding(FAULT, "nodes", f"the environment cannot be activated on a node: {said}")
    said = " ".join(_read(folder, "address").split())[-300:]
    return Finding(FAULT, "nodes", said) if said else None


def reports(text: str) -> list[dict[str, Any]]:
    """What the nodes printed, whatever else was printed between."""
    found = []
    for line in text.splitlines():
        with suppress(ValueError):
            one = json.loads(line)
            if isinstance(one, dict) and "node" in one:
                found.append(one)
    return sorted(found, key=lambda one: str(one["node"]))


def of_nodes(
    folder: Path, token: str, nodes: list[dict[str, Any]], count: int, ports: list[int]
) -> Iterator[Finding]:
    """What the nodes see of the shared folder, the environment and each other."""
    place = folder.parent
    for one in nodes:
        node = one["node"]
        if one["folder"]:
            yield Finding(FAULT, "nodes", f"{node}: {place} {one['folder']}; is it mounted there?")
        elif _read(folder, f"seen-{node}") != token:
            yield Finding(FAULT, "nodes", f"what {node} writes to {place} is not seen here")
        if not isinstance(one["versions"], dict):
            text = f"{node}: the training environment does not work: {one['versions']}"
            yield Finding(FAULT, "nodes", text, ("environment_conda_prefix",))
        for port in one["taken"]:
            text = f"{node}: port {port} of Ray is taken by another process; choose another one"
            yield Finding(FAULT, "nodes", text, ("ray_cluster_port", "ray_cluster_dashboard_port"))
        reached = [port for port in one["unreached"] if port not in _taken(nodes)]
        if reached:
            text = f"{node} does not reach port {listed([str(port) for port in reached])}"
            yield Finding(FAULT, "nodes", f"{text} of the first node: is there a firewall?")
    yield from _differences(nodes)
    if nodes and not any(one["folder"] for one in nodes):
        text = f"{listed([one['node'] for one in nodes])}: {plural(len(nodes), 'node')} of {count}"
        yield Finding(OK, "nodes", f"{text} with the shared folder and the environment")
    if len(nodes) > 1 and ports and not any(one["unreached"] for one in nodes):
        yield Finding(OK, "nodes", f"they reach each other at {listed([str(p) for p in ports])}")


def _taken(nodes: list[dict[str, Any]]) -> list[int]:
    return [port for one in nodes for port in one["taken"]]


def _differences(nodes: list[dict[str, Any]]) -> Iterator[Finding]:
    """Versions and clocks that differ between nodes."""
    known = [one for one in nodes if isinstance(one["versions"], dict)]
    for name in dict.fromkeys(name for one in known for name in one["versions"]):
        each = {one["node"]: one["versions"].get(name) or "none" for one in known}
        if len(set(each.values())) > 1:
            shown = ", ".join(f"{version} on {node}" for node, version in each.items())
            yield Finding(FAULT, "nodes", f"{name} differs: {shown}")
    times = [float(one["now"]) for one in nodes]
    if times and max(times) - min(times) > _APART:
        text = f"the clocks of the nodes are {max(times) - min(times):.0f} s apart"
        yield Finding(WARNING, "nodes", f"{text}: have them set by NTP")


def _of_gate(folder: Path) -> Iterator[Finding]:
    """The GPUs and the all-reduce, as the gate before each training reports them."""
    lines = [line[len("[gate] ") :] for line in _read(folder, "gate").splitlines()
             if line.startswith("[gate] ")]  # fmt: skip
    code = _read(folder, "gate.code").strip()
    if code == "0":
        for line in lines:
            warns = line.startswith("warning: ")
            yield Finding(WARNING if warns else OK, "GPUs", line.replace("warning: ", "", 1))
        return
    errors = _read(folder, "gate.err").splitlines()
    named = [line.partition("NodeError: ")[2] for line in errors if line.startswith("NodeError: ")]
    last = [re.sub(r"^mnrun: ", "", line) for line in errors if line.strip()][-1:]
    for text in named or last or ["the job ended before the all-reduce was done"]:
        yield Finding(FAULT, "GPUs", text)


def _read(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text("utf-8", "replace")
    except OSError:
        return ""
