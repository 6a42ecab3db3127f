#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
"""Documentation only: the action in plugins/action runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: validate
short_description: Check the variables of roles before anything is changed
description:
  - Compares the variables of the play with the roles' own specifications, on the controller and
    without a connection. Reports all problems at once, each with the place of the value.
  - Finds values of the wrong type, options that are missing or misspelt, remaining placeholders
    (C(YOU_TEAM), C(CHANGE_ME), C(<your partition>)), and characters that would break a script.
  - Names that begin with C(_) or end in C(_result) are results of tasks, and not checked.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
extends_documentation_fragment: mnrun.train.read_only
options:
  roles:
    description: Roles of this collection whose variables the play uses, by their short names.
    type: list
    elements: str
    required: true
  report:
    description: Return everything in RV(findings) instead of failing.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Validate the variables
  mnrun.train.validate:
    roles: [environment, sft]
"""

RETURN = r"""
silent:
  description: Why the host does not answer; empty if it does, or was not asked.
  type: str
  returned: with O(report=true)
findings:
  description:
    - Everything that was found, one by one. C(level) is V(ok), V(warning) or V(fault), C(part) what
      it is about, C(what) a text for people, and C(variables) the variables that decide it.
  type: list
  elements: dict
  returned: with O(report=true)
msg:
  description: What is wrong, one numbered line for each problem.
  type: str
  returned: failure
"""
