# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
"""A node of a running Slurm job, by srun from the login node, which is reached by ssh."""

from __future__ import annotations

DOCUMENTATION = r"""
name: srun
short_description: Steps of a Slurm job, started on a login node that is reached by ssh
description:
  - Runs tasks on a compute node that does not accept ssh. ssh leads to a login node, and there
    C(srun --overlap) starts each command as a step of a job that runs on the node.
  - Exit codes, output and errors are the command's own. When the job has ended, or srun cannot
    start the step, the host is unreachable, and the message says which of the two it was.
  - Files are copied through the step too, so nothing has to be shared but what the play needs.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
extends_documentation_fragment:
  - mnrun.train.srun
  - mnrun.train.srun.ssh
  - ansible.builtin.connection_pipelining
seealso:
  - plugin: mnrun.train.srun_local
    plugin_type: connection
    description: The same where Ansible runs on the login node itself.
"""

from ansible.plugins.connection.ssh import Connection as Ssh

from ..plugin_utils.srun_step import ThroughSrun


class Connection(ThroughSrun, Ssh):
    """See DOCUMENTATION. C(ansible_host) is the login node."""

    transport = "mnrun.train.srun"
