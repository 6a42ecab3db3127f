#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
"""Documentation only: the action in plugins/action runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ray_dashboard
short_description: Forward the Ray dashboard to this machine
description:
  - Runs ssh on the controller, with a port of this machine's loopback that leads to the dashboard
    on the head's loopback, until it is interrupted or O(seconds) are over.
  - Prints the address, and how to read the token that the dashboard asks for. The token itself is
    not shown and does not pass through Ansible.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
extends_documentation_fragment: [mnrun.train.ray_head]
options:
  head:
    required: true
  open:
    description: >-
      The cluster asks for no token (RV(mnrun.train.ray_cluster_info#module:cluster.open)).
    type: bool
    default: false
  ssh_args:
    description: Options of ssh to the head from this machine.
    type: str
    default: ""
  user:
    description: User on the head. Empty for the one that ssh itself would take.
    type: str
    default: ""
  key:
    description: Private key. Empty for those that ssh itself would take.
    type: str
    default: ""
  login:
    description: >-
      How the user reaches the login node by ssh, for the hint about the token. Empty if this is it.
    type: str
    default: ""
  seconds:
    description: End after this many seconds. V(0) for never.
    type: int
    default: 0
attributes:
  check_mode:
    support: full
    description: Does nothing.
  diff_mode:
    support: none
    description: Changes nothing.
seealso:
  - module: mnrun.train.ray_cluster_info
"""

EXAMPLES = r"""
- name: Forward the dashboard until Ctrl-C
  mnrun.train.ray_dashboard:
    head: "{{ ray_cluster_result.head }}"
    ssh_args: -o ProxyJump=login.example.org
"""

RETURN = r"""
port:
  description: The port on this machine's loopback.
  type: int
  returned: when O(seconds) are over
"""
