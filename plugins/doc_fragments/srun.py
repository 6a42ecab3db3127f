"""Options that the connection plugins through srun share."""

from __future__ import annotations

import yaml
from ansible.plugins.connection import ssh


class ModuleDocFragment:
    """Merged into a plugin's documentation by `extends_documentation_fragment`."""

    DOCUMENTATION = r"""
options:
  job:
    description: Id of the running Slurm job in which commands run, each as a step.
    type: str
    required: true
    vars:
      - name: ansible_srun_job
  node:
    description: Slurm's name of the job's node on which they run.
    type: str
    required: true
    vars:
      - name: ansible_srun_node
notes:
  - Needs Slurm 20.11 or later (C(srun --overlap)) on the login node.
  - The steps share the job's node with the job's own processes. They take no GPU and no memory of
    the job, and they end with it.
  - With pipelining (C(ansible_pipelining=true)) a task is one step instead of several.
  - C(become) and C(async) do not work. A step runs as the job's user, and processes that it leaves
    behind end with it.
"""

    # The options with which the installed ansible-core's own plugin reaches the login node.
    SSH = yaml.safe_dump({"options": yaml.safe_load(ssh.DOCUMENTATION)["options"]})
