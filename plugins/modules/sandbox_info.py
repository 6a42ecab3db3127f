#!/usr/bin/python
# Copyright: contributors to mnrun
# Apache License 2.0 (see LICENSE)

from __future__ import annotations

DOCUMENTATION = r"""
module: sandbox_info
short_description: The state of the sandbox
description:
  - Returns whether the sandbox is up, the state of its nodes and daemons, and how to reach them.
options:
  directory:
    description: Folder of the cluster's files.
    type: path
    default: /var/lib/mnrun-sandbox
extends_documentation_fragment: mnrun.train.read_only
requirements: [root]
author: The mnrun authors (@mnrun)
version_added: 0.1.0
"""

EXAMPLES = r"""
- name: Look at the sandbox
  mnrun.train.sandbox_info:
"""

RETURN = r"""
state:
  description: V(up), V(down), or V(damaged) when parts of it are dead, which V(up) repairs.
  type: str
  returned: success
nodes:
  description: The compute nodes and their states in Slurm's words.
  type: dict
  returned: when not down
  sample: {osk-gpu94: idle, osk-gpu95: mixed}
machines:
  description: Each machine, V(up) or V(down).
  type: dict
  returned: success
dead:
  description: The daemons that should run and do not.
  type: list
  elements: str
  returned: success
options:
  description: The options it was started with.
  type: dict
  returned: success
ssh:
  description: The command that logs in to the login node as the cluster's user.
  type: str
  returned: when not down
slurm:
  description: The version of Slurm that runs.
  type: str
  returned: when not down
  sample: 26.05.5
proctrack:
  description: How Slurm tracks a job's processes, V(cgroup) or V(linuxproc).
  type: str
  returned: when not down
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.module_exit import with_edge
from ..module_utils.sandbox import run


def main() -> None:
    directory = {"type": "path", "default": "/var/lib/mnrun-sandbox"}
    module = AnsibleModule({"directory": directory}, supports_check_mode=True)
    with_edge(module, lambda: run.info(module.params["directory"]))


if __name__ == "__main__":
    main()
