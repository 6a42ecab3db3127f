#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: site_node_info
short_description: What a compute node shows of its cluster
description:
  - Runs a short job of one task, and returns the networks, the GPUs and the folders of its node,
    and whether ssh from the controller reaches it meanwhile. The job ends with that, or after two
    minutes.
  - To learn whether the node has the same folders, it writes an empty file into each, has the job
    look for it, and removes it.
  - Without a free node within 20 seconds, C(why) says so, and the rest is null.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
attributes:
  check_mode:
    support: full
    description: Runs no job, and writes no file.
  diff_mode:
    support: none
    description: Leaves no file.
options:
  sbatch:
    description: Options of sbatch for the job, long names without the dashes.
    type: dict
    default: {}
  folders:
    description: Folders of the login node to look for on the compute node. Those that cannot be
      written are left out.
    type: list
    elements: str
    default: []
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
  ends:
    description: A job to end, and nothing else. Only the action plugin needs this.
    type: str
    default: ""
seealso:
  - module: mnrun.train.site_info
  - module: mnrun.train.head_access
"""

EXAMPLES = r"""
- name: Look at a compute node
  mnrun.train.site_node_info:
    sbatch: {partition: gpu, gpus-per-node: 1}
    folders: [/home/me]
  register: node
"""

RETURN = r"""
job_id:
  description: The job that ran; empty without one.
  type: str
  returned: success
why:
  description: Why nothing is known; empty if something is.
  type: str
  returned: success
node:
  description: >-
    The node's C(name), C(cpus), C(interfaces), the one of its default C(route), InfiniBand
    C(adapters), C(gpus), for each folder whether the node has the C(same) one (null: it gave no
      answer in time), and whether the C(hub) can be reached.
  type: dict
  returned: success
ssh:
  description: What ssh says if it does not reach the node; empty if it does.
  type: str
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.clock import Clock
from ..module_utils.base.errors import MnrunError
from ..module_utils.base.module_exit import with_edge
from ..module_utils.base.process import run
from ..module_utils.site.canary import canaries
from ..module_utils.site.node import look
from ..module_utils.slurm.client import SlurmClient
from ..module_utils.slurm.visit import hold_node


def visit(given: dict[str, Any], dry: bool) -> dict[str, Any]:
    clock = Clock()
    client = SlurmClient(run, clock)
    if given["ends"]:
        why = client.cancel(given["ends"], "", "")
        return {"changed": False, "job_id": "", "why": why, "node": None}
    if dry:
        return {"changed": False, "job_id": "", "why": "no job runs in check mode", "node": None}
    options = {name: str(value) for name, value in given["sbatch"].items()}
    held = hold_node(client, options, clock)
    found = {"changed": False, "job_id": held.job_id, "why": held.why, "node": None}
    if held.node:
        try:
            with canaries(given["folders"]) as paths:
                found["node"] = {**look(client, held.job_id, paths), "host": held.node}
        except MnrunError as error:
            found["why"] = error.message
    return found


def main() -> None:
    texts = {"type": "str", "default": ""}
    options = {
        "sbatch": {"type": "dict", "default": {}},
        "folders": {"type": "list", "elements": "str", "default": []},
        "ssh_args": texts,
        "user": texts,
        "key": {**texts, "no_log": False},
        "ends": texts,
    }
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    with_edge(module, lambda: visit(module.params, module.check_mode))


if __name__ == "__main__":
    main()
