#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
"""Documentation only: the action in plugins/action runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: diagnosis
short_description: One list of everything that was found about a site
description:
  - Puts together what other modules found (C(findings) of M(mnrun.train.validate),
    M(mnrun.train.login_info), M(mnrun.train.activation) and M(mnrun.train.preflight)), adds the
    place in the inventory where each value was written, and fails if there is a fault.
  - A check that failed as a whole is a fault of its own; one that could not be made because of
    other faults is a warning. Runs on the controller and changes nothing.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
extends_documentation_fragment: mnrun.train.read_only
options:
  checks:
    description: >-
      The result of each task, by the part of the site that it is about, in the order in which they
      are to be shown.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show everything
  mnrun.train.diagnosis:
    checks: {variables: "{{ variables_result }}", login node: "{{ login_result }}"}
"""

RETURN = r"""
mnrun_findings:
  description:
    - Everything, each with C(level) (V(ok), V(warning) or V(fault)), C(part), C(what), C(where)
      (the place in the inventory) and C(write) (what to write there). The last two may be empty.
  type: list
  elements: dict
  returned: always
msg:
  description: The same as lines for people, with the number of faults at the end.
  type: str
  returned: always
"""
