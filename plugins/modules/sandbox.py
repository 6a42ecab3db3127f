#!/usr/bin/python
# Copyright: contributors to mnrun
# Apache License 2.0 (see LICENSE)

from __future__ import annotations

DOCUMENTATION = r"""
module: sandbox
short_description: A real small Slurm cluster on one machine
description:
  - Starts slurmctld, slurmdbd with MariaDB, munge, sshd, a login node and compute nodes with
    simulated GPUs or a share of this machine's own, each in namespaces of its own, or stops them.
  - Checks what is running and starts only what is missing, so it can be repeated at any time.
  - The machine's own files and network are not modified. Everything is in O(directory).
  - If the kernel has no freezer cgroup, Slurm tracks processes by their parents instead
    (C(proctrack/linuxproc)), with a warning.
options:
  state:
    description:
      - V(up) starts everything that is not running.
      - V(down) ends every job and every process, and leaves no mount, interface or cgroup.
    type: str
    choices: [up, down]
    default: up
  directory:
    description: Folder of the cluster's files. Each sandbox needs its own.
    type: path
    default: /var/lib/mnrun-sandbox
  nodes:
    description: Number of compute nodes, from C(osk-gpu94) on.
    type: int
    default: 2
  gpus:
    description: Number of GPUs of each compute node.
    type: int
    default: 8
  real:
    description:
      - Whether the GPUs are this machine's own. Each node then has a C(/dev) without the GPUs of
        others, and Slurm is configured with its share of the machine's cores and memory.
    type: bool
    default: false
  accounting:
    description: Whether slurmdbd and MariaDB run, for C(sacct).
    type: bool
    default: true
  ssh_to_nodes:
    description:
      - Whether the cluster's user may log in to compute nodes, which many sites forbid. Root may.
    type: bool
    default: true
  slurm:
    description:
      - The version of Slurm, as M(mnrun.train.sandbox_slurm) returns it; empty for this machine's
        own. Each series (26.05) has its own jobs and accounting.
    type: str
    default: ""
  wipe:
    description:
      - Stop the cluster first and delete all jobs, the accounting and C(~/training) of the
        cluster's user. The training environment, models and data are kept.
    type: bool
    default: false
  files:
    description: Folder with the files that are the same for each sandbox. Needed for V(up).
    type: path
  conda_env:
    description: The environment that C(~/conda_env) of the cluster's user links to.
    type: path
attributes:
  check_mode:
    description: Reports what it would do.
    support: full
  diff_mode:
    description: Returns what is running before and after.
    support: full
requirements: [root, Debian's packages of Slurm, munge, MariaDB and OpenSSH]
author: The mnrun authors (@mnrun)
version_added: 0.1.0
"""

EXAMPLES = r"""
- name: Start a cluster of three nodes
  mnrun.train.sandbox:
    nodes: 3
    files: "{{ role_path }}/files/cluster"

- name: Stop it and delete its jobs
  mnrun.train.sandbox:
    state: down
    wipe: true
"""

RETURN = r"""
actions:
  description: What was done, or in check mode what would be done, one line each.
  type: list
  elements: str
  returned: success
  sample: [start slurmctld on osk-ctl]
nodes:
  description: The compute nodes and their states in Slurm's words.
  type: dict
  returned: when up
  sample: {osk-gpu94: idle, osk-gpu95: idle}
ssh:
  description: The command that logs in to the login node as the cluster's user.
  type: str
  returned: when up
  sample: ssh -F /var/lib/mnrun-sandbox/ssh_config login
slurm:
  description: The version of Slurm that runs.
  type: str
  returned: when up
  sample: 26.05.5
proctrack:
  description: How Slurm tracks a job's processes, V(cgroup) or V(linuxproc).
  type: str
  returned: when up
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.clock import Clock
from ..module_utils.base.module_exit import with_edge
from ..module_utils.sandbox import run

ARGUMENTS = {
    "state": {"type": "str", "choices": ["up", "down"], "default": "up"},
    "directory": {"type": "path", "default": "/var/lib/mnrun-sandbox"},
    "nodes": {"type": "int", "default": 2},
    "gpus": {"type": "int", "default": 8},
    "real": {"type": "bool", "default": False},
    "accounting": {"type": "bool", "default": True},
    "ssh_to_nodes": {"type": "bool", "default": True},
    "slurm": {"type": "str", "default": ""},
    "wipe": {"type": "bool", "default": False},
    "files": {"type": "path"},
    "conda_env": {"type": "path"},
}


def main() -> None:
    module = AnsibleModule(
        ARGUMENTS, supports_check_mode=True, required_if=[("state", "up", ["files"])]
    )
    with_edge(module, lambda: run.apply(module.params, module.check_mode, Clock()))


if __name__ == "__main__":
    main()
