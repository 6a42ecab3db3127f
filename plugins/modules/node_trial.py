#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: node_trial
short_description: Look at the nodes of a training with a short job
description:
  - Runs one job of ten minutes at most over the nodes of a training. Each node reports whether it
    sees the shared folder, which versions its environment has and whether Ray's ports are free and
    reached; then GPUs and network are tried by an all-reduce, as before each training.
  - The job is cancelled if the controller ends or is interrupted. Job and files are gone
    afterwards, and no record is kept.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
attributes:
  check_mode:
    support: none
    description: It runs a job in either case, which changes nothing.
options:
  folder:
    description: A folder on the shared file system, such as the one of the runs.
    type: str
    required: true
  sbatch:
    description: Options of C(sbatch) that the training's job has, by their long names.
    type: dict
    required: true
  activation:
    description: The text of the activation script.
    type: str
    required: true
  files:
    description: The programs that the job carries, by their names.
    type: dict
    required: true
  packages:
    description: Packages whose versions must be the same on all nodes.
    type: list
    elements: str
    default: []
  ports:
    description: Ports of Ray on the first node. Empty to try none.
    type: list
    elements: int
    default: []
  gpus:
    description: GPUs that the training uses on each node.
    type: int
    default: 0
  timeout:
    description: Seconds to wait for the job, including time in the queue.
    type: int
    default: 600
seealso:
  - module: mnrun.train.diagnosis
"""

EXAMPLES = r"""
- name: Look at the nodes
  mnrun.train.node_trial:
    folder: ~/training/multinode
    sbatch: {partition: gpu, nodes: 2, gpus-per-node: 8}
    activation: "{{ environment_result.script }}"
    files: "{{ lookup('mnrun.train.programs', 'trial_node.py', 'sft_*.py', 'cluster_*.py') }}"
    gpus: 8
"""

RETURN = r"""
findings:
  description:
    - Everything that was found, one by one. C(level) is V(ok), V(warning) or V(fault), C(part) what
      it is about, C(what) a text for people, and C(variables) the variables that decide it.
  type: list
  elements: dict
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.clock import Clock
from ..module_utils.base.files import expand
from ..module_utils.base.finding import as_dicts
from ..module_utils.base.module_exit import with_edge
from ..module_utils.base.process import run
from ..module_utils.preflight.trial import Trial, try_nodes
from ..module_utils.slurm.client import SlurmClient
from ..module_utils.slurm.directives import sbatch_options


def look(given: dict[str, Any]) -> dict[str, Any]:
    clock = Clock()
    client = SlurmClient(run, clock)
    options = sbatch_options(given["sbatch"], client.help)
    names = ("activation", "files", "packages", "ports", "gpus")
    trial = Trial(**{name: given[name] for name in names}, seconds=float(given["timeout"]))
    found = try_nodes(expand(given["folder"]), options, trial, client, clock)
    return {"changed": False, "findings": as_dicts(found)}


def main() -> None:
    options = {
        "folder": {"type": "str", "required": True},
        "sbatch": {"type": "dict", "required": True},
        "activation": {"type": "str", "required": True},
        "files": {"type": "dict", "required": True},
        "packages": {"type": "list", "elements": "str", "default": []},
        "ports": {"type": "list", "elements": "int", "default": []},
        "gpus": {"type": "int", "default": 0},
        "timeout": {"type": "int", "default": 600},
    }
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    with_edge(module, lambda: look(module.params))


if __name__ == "__main__":
    main()
