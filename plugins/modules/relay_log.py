#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
"""Documentation only: the action in plugins/action runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: relay_log
short_description: Follow what the relay of a run shows
description:
  - Shows the log of the relay that continues a run, and of those that take over from it, until
    none is alive. Fails unless the run is done then.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
extends_documentation_fragment: mnrun.train.read_only
options:
  run_dir:
    description: The run folder, on the shared file system.
    type: str
    required: true
  named:
    description: A person named the run, so it is an error if nothing was ever submitted in it.
    type: bool
    default: false
  log_lines:
    description: How many lines of what is there already to show.
    type: int
    default: 200
"""

EXAMPLES = r"""
- name: Follow the relay
  mnrun.train.relay_log:
    run_dir: ~/training/multinode
"""

RETURN = r"""
msg:
  description: The relay's state.
  type: str
  returned: always
"""
