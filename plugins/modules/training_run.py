#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: training_run
short_description: Remove named runs
description:
  - Deletes the folders of runs, with their checkpoints, logs and records. This cannot be undone.
  - Refuses while a job of one of them is alive or may be. The site's own run has no name and is
    never removed.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
extends_documentation_fragment: mnrun.train.folders.site
attributes:
  check_mode:
    support: full
    description: Reports what would be removed, and refuses what would be refused.
  diff_mode:
    support: full
    description: Shows the folders to be removed, with the number and the size of their files.
  idempotent:
    support: full
    description: A run that does not exist is not removed.
options:
  names:
    description: Names of the runs.
    type: list
    elements: str
    required: true
  state:
    description: Only V(absent); a run is created by its first stage.
    type: str
    choices: [absent]
    default: absent
seealso:
  - module: mnrun.train.training_run_info
"""

EXAMPLES = r"""
- name: Remove an experiment
  mnrun.train.training_run:
    base_dir: ~/training/multinode
    names: [larger-lr]
"""

RETURN = r"""
msg:
  description: The same as text, one line for each name.
  type: str
  returned: success
removed:
  description: The runs that were removed, or would be in check mode.
  type: list
  elements: dict
  returned: success
  sample: [{name: larger-lr, path: /home/me/training/multinode/runs/larger-lr, files: 214,
            bytes: 7340032}]
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.clock import Clock
from ..module_utils.base.files import expand
from ..module_utils.base.module_exit import with_edge
from ..module_utils.base.process import run
from ..module_utils.base.text import plural, size
from ..module_utils.runs.training_runs import going, remove, size_of
from ..module_utils.slurm.client import SlurmClient


def absent(base: Path, names: list[str], check: bool) -> dict[str, Any]:
    clock = Clock()
    runs = going(base, names, SlurmClient(run, clock), clock)
    found = [{"name": r.name, "path": str(r.path), **size_of(r.path)._asdict()} for r in runs]
    before = "".join(f"{r['path']} ({r['files']} files, {r['bytes']} bytes)\n" for r in found)
    for each in [] if check else runs:
        remove(each)
    diff = {"before": before, "after": "", "before_header": "runs", "after_header": "runs"}
    lines = [line for name in names for line in removal_lines(name, found, base, check)]
    return {"changed": bool(runs), "removed": found, "diff": diff, "msg": "\n".join(lines)}


def removal_lines(name: str, found: list[dict[str, Any]], base: Path, check: bool) -> list[str]:
    done = "Would remove" if check else "Removed"
    lines = [
        f"{done} {name}: {plural(each['files'], 'file')}, {size(each['bytes'])}, in {each['path']}"
        for each in found
        if each["name"] == name
    ]
    return lines or [f"There is no run {name} in {base}/runs."]


def main() -> None:
    options = {
        "base_dir": {"type": "str", "required": True},
        "names": {"type": "list", "elements": "str", "required": True},
        "state": {"type": "str", "choices": ["absent"], "default": "absent"},
    }
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    given = module.params
    with_edge(module, lambda: absent(expand(given["base_dir"]), given["names"], module.check_mode))


if __name__ == "__main__":
    main()
