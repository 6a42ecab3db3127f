# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
"""A node of a running Slurm job, by srun from this host."""

from __future__ import annotations

DOCUMENTATION = r"""
name: srun_local
short_description: Steps of a Slurm job, started on the host that Ansible runs on
description:
  - Runs tasks on a compute node that does not accept ssh, from a login node on which Ansible itself
    runs. C(srun --overlap) starts each command as a step of a job that runs on the node.
  - Exit codes, output and errors are the command's own. When the job has ended, or srun cannot
    start the step, the host is unreachable, and the message says which of the two it was.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
extends_documentation_fragment:
  - mnrun.train.srun
  - ansible.builtin.connection_pipelining
seealso:
  - plugin: mnrun.train.srun
    plugin_type: connection
    description: The same from a host that reaches the login node by ssh.
"""

from ansible.plugins.connection.local import Connection as Local

from ..plugin_utils.srun_step import ThroughSrun


class Connection(ThroughSrun, Local):
    """See DOCUMENTATION."""

    transport = "mnrun.train.srun_local"
