#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: login_info
short_description: What the login node has of what mnrun needs
description:
  - Looks for Slurm's commands and their version, and at the folder that runs are written to. Says
    also whether the host answers at all, and how far its clock is from the controller's. A host
    that does not answer is a finding, not a failure. Changes nothing.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
extends_documentation_fragment: mnrun.train.read_only
options:
  folder:
    description: The folder that runs are written to, which need not exist.
    type: str
    required: true
  silent:
    description: >-
      Why the host does not answer, if an earlier task knows that; it is not asked again then.
    type: str
    default: ""
seealso:
  - module: mnrun.train.diagnosis
"""

EXAMPLES = r"""
- name: Look at the login node
  mnrun.train.login_info:
    folder: ~/training/multinode
"""

RETURN = r"""
answers:
  description: Whether the host ran this.
  type: bool
  returned: always
findings:
  description:
    - Everything that was found, one by one. C(level) is V(ok), V(warning) or V(fault), C(part) what
      it is about, C(what) a text for people, and C(variables) the variables that decide it.
  type: list
  elements: dict
  returned: always
left:
  description: Bytes that this user can write there.
  type: int
  returned: success
left_by:
  description: What leaves no more than that; empty if it is not known.
  type: str
  returned: success
now:
  description: The time on the host, in seconds since the epoch.
  type: float
  returned: success
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.files import expand
from ..module_utils.base.finding import as_dicts
from ..module_utils.base.module_exit import with_edge
from ..module_utils.base.process import run
from ..module_utils.preflight.login import findings


def look(folder: str) -> dict[str, Any]:
    now = time.time()
    found, left = findings(expand(folder), run)
    return {
        "changed": False,
        "answers": True,
        "findings": as_dicts(found),
        "left": left.left,
        "left_by": left.by,
        "now": now,
    }


def main() -> None:
    options = {
        "folder": {"type": "str", "required": True},
        "silent": {"type": "str", "default": ""},  # the action plugin's own
    }
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    with_edge(module, lambda: look(module.params["folder"]))


if __name__ == "__main__":
    main()
