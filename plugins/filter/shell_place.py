"""The filter that chooses where `mnrun shell` opens a shell, and how."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from ..module_utils.stage.describe import line
from ..plugin_utils.srun_step import shell_line

DOCUMENTATION = r"""
name: shell_place
short_description: Choose a node of a running job, and the command that opens a shell there
description:
  - The command reaches the login node as Ansible does, and runs there a step of the job that shares
    what the job has, with the environment of the run.
author: The mnrun authors
version_added: 0.1.0
options:
  _input:
    description: The stages that M(mnrun.train.slurm_job_info) returns.
    type: list
    elements: dict
    required: true
  place:
    description: A node or a stage. Empty for the first node of the stage that trains.
    type: str
    default: ""
  words:
    description: >-
      A command for that node, as a JSON list in base64, so that Ansible does not take it for a
      template. One word is a line for its shell, several are a program and its arguments. Empty for
      a shell.
    type: str
    default: ""
  terminal:
    description: Whether there is a terminal.
    type: bool
    default: false
  login:
    description: How ssh reaches the login node, by the lookup P(mnrun.train.login_ssh#lookup).
      Empty if that is here.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Choose a node
  ansible.builtin.debug:
    msg: "{{ found.stages | mnrun.train.shell_place('sft') }}"
"""

RETURN = r"""
_value:
  description: >-
    C(problem), why there is none, or empty; C(stage), C(job) and C(node) of the one that was
    chosen, all C(nodes) of that job, and C(argv), the command for this machine.
  type: dict
"""

_TRAINING = ("sft", "ppo")


class Place(NamedTuple):
    """A running job."""

    stage: str
    job: str
    nodes: Sequence[str]
    run_dir: str

    def __str__(self) -> str:
        return f"{self.stage} (job {self.job}) on {', '.join(self.nodes)}"


def shell_place(
    stages: Sequence[Mapping[str, Any]],
    place: str = "",
    words: str = "",
    terminal: bool = False,
    login: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Choose, or say why there is nothing to choose."""
    known = _places(stages)
    fitting = [one for one in known if place in ("", one.stage, *one.nodes)]
    if not fitting:
        return {"problem": _problem(stages, known, place)}
    chosen = fitting[0]
    node = place if place in chosen.nodes else chosen.nodes[0]
    command = [str(word) for word in json.loads(base64.b64decode(words) or "[]")]
    remote = shell_line(chosen.job, node, chosen.run_dir, command, terminal)
    ssh = _ssh(login, terminal) if login else ["/bin/sh", "-c"]
    return {"problem": "", "stage": chosen.stage, "job": chosen.job, "node": node,
            "nodes": list(chosen.nodes), "argv": [*ssh, remote]}  # fmt: skip


def _ssh(login: Mapping[str, Any], terminal: bool) -> list[str]:
    options = [*shlex.split(login["ssh_args"]), "-t" if terminal else "-T", "-o", "LogLevel=ERROR"]
    return [login["ssh_executable"], *options, *shlex.split(login["words"])]


def _places(stages: Sequence[Mapping[str, Any]]) -> list[Place]:
    """The running jobs, that of a training first; a Ray cluster as what trains in it."""
    found = {}
    for entry in sorted(stages, key=lambda one: one["stage"] in _TRAINING):
        if entry["job"]["phase"] == "running" and entry.get("node_names"):
            run_dir = str(PurePosixPath(entry["record"]).parents[2])
            job = str(entry["timing"]["job"])
            found[job] = Place(entry["stage"], job, entry["node_names"], run_dir)
    return sorted(found.values(), key=lambda one: one.stage not in _TRAINING)


def _problem(stages: Sequence[Mapping[str, Any]], known: Sequence[Place], place: str) -> str:
    if known:
        running = "; ".join(map(str, known))
        return (
            f"No stage {place} of this run runs, nor any job of it on {place}. Running: {running}."
        )
    waits = [f"{one['stage']} waits: {line(dict(one))}." for one in stages
             if one["job"]["phase"] == "queued"]  # fmt: skip
    return " ".join(["Nothing of this run is running, so there is no node for a shell.", *waits])


class FilterModule:
    """The filter as Ansible finds it."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by their names."""
        return {"shell_place": shell_place}
