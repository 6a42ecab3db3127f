#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: relay_claim
short_description: Claim a run that was handed over for one relay
description:
  - Takes the next number in the list of the relays that continued a run, unless another relay has
    taken it. A relay that no longer has the last number ends.
  - Whether the holder of the last number is over has to be known before; that is what
    P(mnrun.train.relay_turn#filter) decides.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
attributes:
  check_mode:
    support: none
    description: It is skipped.
options:
  run_dir:
    description: The run folder, on the shared file system.
    type: str
    required: true
  after:
    description: The last number, as M(mnrun.train.slurm_job_info) returned it in C(holder).
    type: int
    required: true
  job:
    description: The relay's own job.
    type: str
    required: true
  stage:
    description: The relay's stage.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Claim the run
  mnrun.train.relay_claim:
    run_dir: ~/training/multinode
    after: "{{ found.holder.number }}"
    job: "12"
    stage: relay
"""

RETURN = r"""
held:
  description: Whether this relay holds the run.
  type: bool
  returned: success
holder:
  description: Who holds the run, C(number), C(job), C(stage) and C(host).
  type: dict
  returned: success
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.files import expand
from ..module_utils.base.module_exit import with_edge
from ..module_utils.record.holder import hold


def main() -> None:
    options = {
        "run_dir": {"type": "str", "required": True},
        "after": {"type": "int", "required": True},
        "job": {"type": "str", "required": True},
        "stage": {"type": "str", "required": True},
    }
    module = AnsibleModule(argument_spec=options)
    given = module.params

    def claim() -> dict[str, object]:
        mine = {
            "job": given["job"],
            "stage": given["stage"],
            "host": os.uname().nodename,
            "uid": os.geteuid(),
            "time": time.time(),
        }
        held = hold(expand(given["run_dir"]), given["after"], mine)
        return {"changed": True, "held": held.job == given["job"], "holder": held._asdict()}

    with_edge(module, claim)


if __name__ == "__main__":
    main()
