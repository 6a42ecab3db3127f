"""A compute node to try something on: one that is up, or one on which a job of ours runs."""

from __future__ import annotations

from typing import Mapping, NamedTuple

from ..base.clock import Clock, Deadline
from .client import SlurmClient, own_words
from .nodelist import names_in
from .nodes import is_lost
from .parse import parse_submitted

_UP = ("idle", "mixed", "allocated", "completing")
_CARRIED = ("partition", "account", "qos", "reservation", "constraint", "gres", "gpus-per-node")
_LIFE = 90  # seconds that the job lives if no one ends it
_PATIENCE = 20.0  # seconds for it to start
_PAUSE = 0.5


class Visit(NamedTuple):
    """A node, and the job of ours on it. Without a node, `why` there is none."""

    node: str = ""
    job_id: str = ""
    why: str = ""


def choose_node(client: SlurmClient, options: Mapping[str, str]) -> Visit:
    """A node that a job with these options may get, of those that are up; the idle ones first."""
    partitions = [name for name in options.get("partition", "").split(",") if name]
    named = names_in(options.get("nodelist", ""))
    states = {
        name: state.lower()
        for name, state, partition in client.info("%n|%T|%R") or []
        if not partitions or partition in partitions
        if not named or name in named
    }
    up = [name for name, state in states.items() if state.startswith(_UP) and not is_lost(state)]
    up.sort(key=lambda name: (not states[name].startswith("idle"), name))
    return Visit(up[0]) if up else Visit(why="Slurm shows no node that is up")


def hold_node(client: SlurmClient, options: Mapping[str, str], clock: Clock) -> Visit:
    """Run a short job of one task on any node that a job with these options may get."""
    given = [f"--{name}={options[name]}" for name in _CARRIED if options.get(name)]
    done = client.sbatch(
        [*given, "--parsable", "--nodes=1", "--ntasks=1", "--cpus-per-task=1", "--time=2",
         "--no-requeue", "--job-name=mnrun-reach", "--output=/dev/null", "--chdir=/",
         f"--wrap=sleep {_LIFE}"]
    )  # fmt: skip
    job = parse_submitted(done.out) if done.code == 0 else None
    if job is None:
        return Visit(
            why=" ".join(own_words("sbatch", done).split())[:300] or "sbatch did not answer"
        )
    deadline = Deadline(clock, _PATIENCE)
    while not deadline.over():
        rows = client.show(job.job_id).rows or []
        if rows and rows[0].state == "RUNNING" and rows[0].nodes:
            return Visit(rows[0].nodes, job.job_id)
        deadline.pause(_PAUSE)
    client.cancel(job.job_id, "", "")
    return Visit(why=f"no node was free within {_PATIENCE:.0f} s")
