"""What the sandbox asks of its Slurm, as the cluster's administrator."""

from __future__ import annotations

import re

from ..base.clock import Clock
from ..sandbox import process
from .errors import SandboxError
from .fabric import enter
from .layout import Options

REGISTERED = 40.0  # seconds until all nodes must have registered
ANSWER = 15.0  # seconds for one Slurm command
# A star means that the node does not respond.
NOT_READY = ("down", "unknown", "*")


def node_states(options: Options, pid: int) -> dict[str, str]:
    """Each compute node's state, in Slurm's words. `pid` is the controller's first process.

    Empty when slurmctld does not answer.
    """
    command = ["sinfo", "--noheader", "--Node", "--partition=gpu", "--format=%N %T"]
    done = process.run([*enter(options, pid), *command], ANSWER, check=False)
    if done.returncode:
        return {}
    return dict(line.split()[:2] for line in done.stdout.splitlines())


def version(options: Options, pid: int) -> str:
    """The version of Slurm that a node has, as its own program reports. `pid` is the node's first
    process."""
    done = process.run([*enter(options, pid), "sinfo", "--version"], ANSWER, check=False)
    found = re.search(r"\b\d{1,6}(\.\d{1,6})+", done.stdout)
    return found.group() if found else "unknown"


def wait_registered(options: Options, pid: int, clock: Clock) -> dict[str, str]:
    """Wait until every node answers; return their states."""
    states: dict[str, str] = {}

    def done() -> bool:
        states.clear()
        states.update(node_states(options, pid))
        return bool(states) and not any(w in s for s in states.values() for w in NOT_READY)

    def what() -> str:
        log = options.path("log")
        return f"not all nodes registered with slurmctld: {states or 'no answer'}; see {log}"

    process.wait_until(done, REGISTERED, what, clock, interval=0.1)
    return states


def resume(options: Options, pid: int) -> None:
    """Let drained nodes take jobs again."""
    states = node_states(options, pid)
    drained = [name for name, state in states.items() if state.startswith("drain")]
    if drained:
        command = ["scontrol", "update", f"NodeName={','.join(drained)}", "State=RESUME"]
        process.run([*enter(options, pid), *command], ANSWER)


def cancel_all(options: Options, pid: int) -> list[str]:
    """Cancel every job; return their ids.

    Raises SandboxError when slurmctld does not answer.
    """
    asked = process.run(
        [*enter(options, pid), "squeue", "--noheader", "--all", "--format=%A"], ANSWER, check=False
    )
    if asked.returncode:
        raise SandboxError(f"squeue in the sandbox: {asked.stdout.strip()}")
    ids = sorted(set(asked.stdout.split()))
    if ids:
        process.run([*enter(options, pid), "scancel", *ids], ANSWER)
    return ids


def forget_lost(options: Options, pid: int) -> None:
    """Cancel the jobs that an earlier cluster left; call it before any node is there.

    A node that is marked down is not asked to end its jobs. Otherwise it would stay
    "completing" for a minute or two. It returns as it registers.
    """
    names = ",".join(node.name for node in options.compute)
    if cancel_all(options, pid):
        update = ["scontrol", "update", f"NodeName={names}", "State=DOWN", "Reason=restarted"]
        process.run([*enter(options, pid), *update], ANSWER)
