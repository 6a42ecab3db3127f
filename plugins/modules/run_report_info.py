#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: run_report_info
short_description: Curves, times and causes of runs, for a report
description:
  - Reads the records, logs and tracker files of all attempts of the named runs, and returns what a
    report shows of them. Changes nothing.
  - What is returned is bounded. Curves are thinned so that the first and the last value, spikes and
    gaps remain; of logs, only sample answers and the lines that tell why an attempt failed.
  - Metrics come from the trainer's log, by the patterns of its profile. The offline files of W&B,
    the event files of TensorBoard and the databases of Trackio in the folder of a stage tell when
    steps were made, and the metrics of a trainer whose log shows none. Their libraries are not
    needed.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
extends_documentation_fragment: [mnrun.train.folders.site, mnrun.train.read_only]
options:
  names:
    description: The runs, V(default) for the site's own.
    type: list
    elements: str
    default: [default]
  points:
    description: The most points of a curve.
    type: int
    default: 600
seealso:
  - module: mnrun.train.training_run_info
"""

EXAMPLES = r"""
- name: Read what a report shows of two runs
  mnrun.train.run_report_info:
    base_dir: ~/training/multinode
    names: [default, larger-lr]
  register: reported
"""

RETURN = r"""
mnrun_report:
  description:
    - C(runs), one entry for each with what M(mnrun.train.training_run_info) returns, and with
      C(kept_options) (the text of its C(options.yml)), C(packages) (versions, where W&B listed
      them) and the C(time) in seconds since the epoch.
    - Each of its C(stages) also has C(curves) (name of the metric -> pairs of step and value, null
      for one that was no finite number), C(resumes) (each with its C(attempt), the C(step) that it
      began with, and how many were C(repeated)), C(answers) (samples, each with C(step), C(prompt),
      C(answer), C(truth) and C(score)) and C(attempts).
    - Each attempt has its job, its times (C(submitted), C(start), C(end), and the C(first) and
      C(last) step and C(saves) in C(times) where they are known), C(nodes), C(gpus), the
      C(use) of its GPUs, and the C(cause) and C(problem) of one without a result.
  type: dict
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.clock import Clock
from ..module_utils.base.files import expand
from ..module_utils.base.module_exit import with_edge
from ..module_utils.base.process import run
from ..module_utils.runs.report import reported
from ..module_utils.runs.training_runs import chosen
from ..module_utils.slurm.client import SlurmClient


def look(base_dir: str, names: list[str], points: int) -> dict[str, Any]:
    clock = Clock()
    client = SlurmClient(run, clock)
    runs = chosen(expand(base_dir), names)
    found = [reported(each, client, clock, max(20, min(points, 5000))) for each in runs]
    warnings = [one["msg"] for each in found for one in each["damaged"]]
    return {"changed": False, "mnrun_report": {"runs": found}, "warnings": warnings}


def main() -> None:
    options = {
        "base_dir": {"type": "str", "required": True},
        "names": {"type": "list", "elements": "str", "default": ["default"]},
        "points": {"type": "int", "default": 600},
    }
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    with_edge(module, lambda: look(**module.params))


if __name__ == "__main__":
    main()
