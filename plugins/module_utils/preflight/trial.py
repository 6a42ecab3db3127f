"""A short job over the nodes of a training, which looks at them and leaves nothing behind."""

from __future__ import annotations

import json
import re
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, NamedTuple

from ..base.clock import Clock
from ..base.finding import FAULT, OK, WARNING, Finding
from ..base.text import listed, plural
from ..slurm.client import SlurmClient
from ..slurm.judge import least
from ..slurm.nodelist import names_in
from .login import existing
from .trial_job import TrialJob, interruptible

MINUTES = 10
"""The job's own time limit: the all-reduce may take that long on a slow file system."""

_APART = 30.0  # seconds between the clocks of two nodes
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


def try_nodes(
    parent: Path, sbatch: Mapping[str, str], trial: Trial, client: SlurmClient, clock: Clock
) -> list[Finding]:
    """Run the job, and say what it found. The folder, on the shared file system below `parent`, and
    the job are gone afterwards, whatever happens; where they cannot be, that is a finding, too."""
    with interruptible() as look:
        folder = Path(tempfile.mkdtemp(prefix=".mnrun-doctor-", dir=str(existing(parent))))
        job = TrialJob(folder.name[1:], client, clock)
        try:
            found = list(_tried(folder, sbatch, trial, job, look))
        finally:
            left = job.remove(folder)
        return [*found, *([left] if left else [])]


def _tried(
    folder: Path, sbatch: Mapping[str, str], trial: Trial, job: TrialJob, look: Callable[[], None]
) -> Iterator[Finding]:
    token, count = secrets.token_hex(8), _count(sbatch)
    _fill(folder, token, count, trial)
    script = _SCRIPT.format(folder=folder, gpus=trial.gpus)
    refused = job.submit(script, _options(folder, sbatch, count))
    if refused:
        yield refused
    elif job.ended(trial.seconds, look):
        yield from _found(folder, token, sbatch, trial)
    else:
        yield job.unlooked(trial.seconds)


def _count(sbatch: Mapping[str, str]) -> int:
    """Nodes to look at: of a range the least, as a training may get no more."""
    return max(1, least(sbatch.get("nodes", "1")), len({*names_in(sbatch.get("nodelist", ""))}))


def _options(folder: Path, sbatch: Mapping[str, str], count: int) -> dict[str, str]:
    options = {name: value for name, value in sbatch.items() if name not in ("signal", "time-min")}
    options.update(output=str(folder / "out"), error=str(folder / "err"), chdir="/")
    if "nodes" in options:
        options["nodes"] = str(count)
    return {**options, "time": f"0:{MINUTES}:00"}


def _fill(folder: Path, token: str, count: int, trial: Trial) -> None:
    plan = {"folder": str(folder), "token": token, "packages": trial.packages,
            "ports": trial.ports, "nodes": count}  # fmt: skip
    own = {"activate.sh": trial.activation, "canary": token, "plan.json": json.dumps(plan)}
    for name, text in {**trial.files, **own}.items():
        (folder / name).write_text(text, encoding="utf-8")


def _found(folder: Path, token: str, sbatch: Mapping[str, str], trial: Trial) -> Iterator[Finding]:
    failed = _before(folder)
    if failed:
        yield failed
        return
    nodes = reports(_read(folder, "nodes"))
    yield from of_nodes(folder, token, nodes, _count(sbatch), trial.ports)
    said = " ".join(_read(folder, "nodes.err").split())[:300]
    if len(nodes) < _count(sbatch):
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
