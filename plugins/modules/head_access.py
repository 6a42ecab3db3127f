#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: head_access
short_description: Whether ssh from the controller reaches the compute nodes
description:
  - PPO's steps run on the head of a Ray cluster. Before anything is submitted, this checks that ssh
    from the controller reaches a node that is up. If the site admits users only to nodes on which
    they have a job, a job of two minutes and one CPU runs there meanwhile.
  - Fails if ssh does not get through to a node on which that job runs. If no node is free for such
    a job, the result is unknown, which is reported and is not a failure.
  - Does nothing if PPO has already run in the run.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
extends_documentation_fragment: [mnrun.train.folders, mnrun.train.read_only]
options:
  ssh_args:
    description: Options of ssh to a compute node from the controller.
    type: str
    default: ""
  user:
    description: User on the compute node. Empty for the one that ssh itself would take.
    type: str
    default: ""
  key:
    description: Private key. Empty for those that ssh itself would take.
    type: str
    default: ""
  sbatch:
    description: Options of C(sbatch) that the Ray cluster's job will have.
    type: dict
    default: {}
  state:
    description:
      - V(chosen) names a node that is up, V(held) one on which a job was started, and V(released)
        ends that job. Only the action plugin needs this.
    type: str
    choices: [chosen, held, released]
    default: chosen
  job_id:
    description: With V(released), the job.
    type: str
    default: ""
seealso:
  - module: mnrun.train.ray_cluster_info
"""

EXAMPLES = r"""
- name: See whether the head will be reached
  mnrun.train.head_access:
    run_dir: ~/training/multinode
    ssh_args: -o ProxyJump=login.example.org
    sbatch: {partition: gpu}
"""

RETURN = r"""
node:
  description: The node that ssh was tried with; empty if there was nothing to try.
  type: str
  returned: success
  sample: osk-gpu94
job_id:
  description: The job that was started for that; empty if none was necessary.
  type: str
  returned: success
settled:
  description: Whether it is known that ssh gets through.
  type: bool
  returned: success
msg:
  description: What was found out.
  type: str
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.clock import Clock
from ..module_utils.base.errors import Invalid
from ..module_utils.base.files import expand
from ..module_utils.base.module_exit import with_edge
from ..module_utils.base.process import run
from ..module_utils.record.ledger import Ledger
from ..module_utils.slurm.client import SlurmClient
from ..module_utils.slurm.visit import Visit, choose_node, hold_node

STAGE = "ppo"


def visit(given: dict[str, Any]) -> dict[str, Any]:
    clock = Clock()
    client = SlurmClient(run, clock)
    if given["state"] == "released":
        if not given["job_id"].isdecimal():
            raise Invalid(f"job_id is {given['job_id']!r}, not the id of a job.")
        return _result(Visit(why=client.cancel(given["job_id"], "", "")))
    options = {name: str(value) for name, value in given["sbatch"].items()}
    if given["state"] == "held":
        return _result(hold_node(client, options, clock))
    if Ledger(expand(given["run_dir"]), STAGE, clock).folders():
        return {**_result(Visit(why="PPO has run in this run")), "settled": True}
    return _result(choose_node(client, options))


def _result(found: Visit) -> dict[str, Any]:
    return {"changed": False, "settled": False, "node": found.node, "job_id": found.job_id,
            "msg": found.why}  # fmt: skip


def main() -> None:
    options = {
        "run_dir": {"type": "str", "required": True},
        "ssh_args": {"type": "str", "default": ""},
        "user": {"type": "str", "default": ""},
        "key": {"type": "str", "default": "", "no_log": False},
        "sbatch": {"type": "dict", "default": {}},
        "state": {
            "type": "str", "choices": ["chosen", "held", "released"], "default": "chosen",
        },
        "job_id": {"type": "str", "default": ""},
    }  # fmt: skip
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    with_edge(module, lambda: visit(module.params))


if __name__ == "__main__":
    main()
