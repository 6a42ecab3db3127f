#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: training_run_info
short_description: The runs of a site, side by side
description:
  - Returns the state of each stage of every run below a folder, and compares two runs. Changes
    nothing.
  - The site's own run is in O(base_dir) itself and is called C(default); a named one is in
    C(runs/NAME) below it.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
extends_documentation_fragment: [mnrun.train.folders.site, mnrun.train.read_only]
options:
  names:
    description: Return only these runs; two of them are compared. Empty for all.
    type: list
    elements: str
    default: []
  missing:
    description: What to do about a name without a run, V(fail) or V(skip) it.
    type: str
    choices: [fail, skip]
    default: fail
  details:
    description:
      - Return all that is known about each run. With hundreds of runs this is megabytes, and
        V(false) leaves it out.
    type: bool
    default: true
seealso:
  - module: mnrun.train.training_run
  - module: mnrun.train.slurm_job_info
"""

EXAMPLES = r"""
- name: Compare two runs
  mnrun.train.training_run_info:
    base_dir: ~/training/multinode
    names: [baseline, larger-lr]
  register: runs
"""

RETURN = r"""
runs:
  description: >-
    One entry for each run, with its C(name), its C(path), its C(stages), and its C(damaged)
    records.
  type: list
  elements: dict
  returned: success, if O(details=true)
table:
  description:
    - What a person compares of these runs, for the filter P(mnrun.train.runs_table#filter).
    - It has C(stages), the headings of columns, and C(rows), each with C(name), C(live), C(ended),
      C(cells) and C(options).
  type: dict
  returned: success
comparison:
  description:
    - One entry for each stage, with the C(spec) differences as lines, the C(metrics) of both runs,
      and the runs in which it is C(missing).
  type: list
  elements: dict
  returned: success, empty unless two runs are named
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.clock import Clock
from ..module_utils.base.files import expand
from ..module_utils.base.module_exit import with_edge
from ..module_utils.base.process import run
from ..module_utils.runs.table import table
from ..module_utils.runs.training_runs import chosen, comparison, described
from ..module_utils.slurm.client import SlurmClient


def look(base_dir: str, names: list[str], missing: str, details: bool) -> dict[str, Any]:
    clock = Clock()
    client = SlurmClient(run, clock)
    runs = chosen(expand(base_dir), names, missing == "skip")
    found = [described(each, client, clock) for each in runs]
    compared = comparison(*found) if names and len(found) == 2 else []
    warnings = [one["msg"] for each in found for one in each["damaged"]]
    shown = {"table": table(found), "comparison": compared, "warnings": warnings}
    return {"changed": False, **shown, **({"runs": found} if details else {})}


def main() -> None:
    options = {
        "base_dir": {"type": "str", "required": True},
        "names": {"type": "list", "elements": "str", "default": []},
        "missing": {"type": "str", "choices": ["fail", "skip"], "default": "fail"},
        "details": {"type": "bool", "default": True},
    }
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    with_edge(module, lambda: look(**module.params))


if __name__ == "__main__":
    main()
