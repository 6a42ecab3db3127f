#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: hub_transfer
short_description: On this machine, run a program that talks to the Hugging Face Hub
description:
  - For sites whose compute nodes cannot reach the Hub. The programs are those of the roles
    C(mnrun.train.publish) and C(mnrun.train.fetch), which elsewhere run in a Slurm job.
  - The program reads its token from a file, or from HF_TOKEN in this module's own environment. A
    token is never an option, and never on a command line.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
attributes:
  check_mode:
    support: full
    description: The program compares both sides but transfers nothing.
  diff_mode:
    support: full
    description: Shows the files at the destination before and after.
options:
  program:
    description: The file of O(files) to run.
    type: str
    required: true
  files:
    description: The program and the files that it needs beside it, text by name.
    type: dict
    required: true
  plan:
    description: The program's instructions.
    type: dict
    required: true
  activate:
    description: Script that activates the training environment. Empty for none.
    type: path
    default: ""
  python:
    description: The Python to run it with. Empty for the one that O(activate) activates.
    type: path
    default: ""
  timeout:
    description: Seconds after which the program is killed.
    type: int
    default: 86400
"""

EXAMPLES = r"""
- name: Publish from the login node
  mnrun.train.hub_transfer:
    program: publish.py
    files: "{{ publish_files }}"
    plan: "{{ publish_plan }}"
    activate: "{{ environment_result.path }}"
"""

RETURN = r"""
where:
  description: What was updated, as an address or a path.
  type: str
  returned: success
sent:
  description: The files that were transferred, or would be.
  type: list
  elements: str
  returned: success
log:
  description: What the program printed.
  type: list
  elements: str
  returned: when the program ran
"""

import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.module_exit import with_edge
from ..module_utils.hub.program import Work, run_program

SPEC = {
    "program": {"type": "str", "required": True},
    "files": {"type": "dict", "required": True},
    "plan": {"type": "dict", "required": True},
    "activate": {"type": "path", "default": ""},
    "python": {"type": "path", "default": ""},
    "timeout": {"type": "int", "default": 86400},
}


def difference(found: dict[str, Any]) -> dict[str, str]:
    """The files of the other side before and after, one on a line."""
    before = found.get("before", {})
    gone = set(found.get("removed", []))
    new = {name: f"sha256:{digest[:12]}" for name, digest in found.get("files", {}).items()}
    sent = {name: new[name] for name in found.get("sent", []) if name in new}
    after = {name: text for name, text in {**before, **sent}.items() if name not in gone}
    header = found.get("where", "")
    return {
        "before": "".join(f"{name}  {before[name]}\n" for name in sorted(before)),
        "after": "".join(f"{name}  {after[name]}\n" for name in sorted(after)),
        "before_header": header,
        "after_header": header,
    }


def transfer(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    work = Work(
        program=given["program"],
        files=given["files"],
        plan={**given["plan"], "check": module.check_mode},
        activate=given["activate"],
        python=given["python"],
        timeout=given["timeout"],
    )
    with tempfile.TemporaryDirectory(dir=module.tmpdir) as scratch:
        found = run_program(work, Path(scratch))
    return {**found, "diff": difference(found)}


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    with_edge(module, lambda: transfer(module))


if __name__ == "__main__":
    main()
