#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: leftovers
short_description: Leftovers (jobs, files, processes) that no run owns
description:
  - Finds jobs of this user that mnrun submitted, according to their comment, and that no ledger has
    as alive; published heads and tokens of Ray clusters that are over; and folders that killed Ray
    clusters left on the disks of the login node and of the run's nodes.
  - Removes them and verifies that they are gone; in check mode it only lists them.
  - What it cannot classify is reported and left alone.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
attributes:
  check_mode:
    support: full
    description: Lists what would be removed.
  diff_mode:
    support: none
    description: Everything is listed in RV(leftovers).
  idempotent:
    support: full
    description: What was removed is not found again.
options:
  run_dir:
    description: >-
      The run folder on the cluster's shared file system. The folders of other runs are taken from
      the comments of their jobs.
    type: str
    required: true
  program:
    description: Text of the role ray_cluster's C(cluster_leftovers.py), which examines a node.
    type: str
    required: true
  temp_dir:
    description: Where the Ray clusters have their folders on each node (C(ray_cluster_temp_dir)).
    type: str
    default: /tmp
seealso:
  - module: mnrun.train.slurm_job
"""

EXAMPLES = r"""
- name: Remove leftovers that no run owns
  mnrun.train.leftovers:
    run_dir: ~/training/multinode
    program: "{{ lookup('mnrun.train.programs', 'cluster_leftovers.py').values() | first }}"
"""

RETURN = r"""
msg:
  description: What was found, and what was done with it.
  type: str
  returned: always
leftovers:
  description: What was found.
  type: list
  elements: dict
  returned: success
  sample:
    - {kind: job, name: "12", place: /home/user/training, why: its run has no record of it}
unsure:
  description: What could not be classified, and was left alone.
  type: list
  elements: str
  returned: success
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.clock import Clock
from ..module_utils.base.errors import MnrunError
from ..module_utils.base.files import expand
from ..module_utils.base.module_exit import with_edge
from ..module_utils.base.process import run
from ..module_utils.runs.leftover_folders import Folders
from ..module_utils.runs.leftovers import end, find
from ..module_utils.slurm.client import SlurmClient


def collect(given: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    clock = Clock()
    client = SlurmClient(run, clock)
    folders = Folders(run, given["program"], given["temp_dir"])
    found = find(expand(given["run_dir"]), client, folders, clock)
    left = [] if check_mode or not found.leftovers else end(found, client, folders, clock)
    if left:
        lines = "\n".join(item.line for item in left)
        raise MnrunError(f"These still exist:\n{lines}")
    words = [item.line for item in found.leftovers] or ["Nothing is left over."]
    words += [f"left alone: {text}" for text in found.unsure]
    return {
        "changed": bool(found.leftovers),
        "leftovers": [asdict(item) for item in found.leftovers],
        "unsure": found.unsure,
        "msg": "\n".join(words),
    }


def main() -> None:
    options = {
        "run_dir": {"type": "str", "required": True},
        "program": {"type": "str", "required": True},
        "temp_dir": {"type": "str", "default": "/tmp"},  # noqa: S108 - as the role has it
    }
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    with_edge(module, lambda: collect(module.params, module.check_mode))


if __name__ == "__main__":
    main()
