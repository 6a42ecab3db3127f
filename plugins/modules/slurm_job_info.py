#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: slurm_job_info
short_description: The state of the stages of a run
description:
  - Reads the run's ledger, queries Slurm about jobs that may be alive, and reads their logs for the
    training's progress. Changes nothing.
  - For Ray jobs it returns what the shared file system has, and what Slurm knows about their
    cluster; M(mnrun.train.ray_job_info) on the Ray head can query Ray itself.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
extends_documentation_fragment:
  [mnrun.train.info, mnrun.train.folders, mnrun.train.read_only]
options:
  follow:
    description:
      - With O(log_lines), show new lines of the logs as they come, until the job ends.
      - In a play only; the lines are shown while the task runs.
    type: bool
    default: false
  named:
    description: A person named the run, so it is an error if nothing was ever submitted in it.
    type: bool
    default: false
  watch:
    description:
      - Show all stages again and again until the task is interrupted, with this many seconds
        between two answers, or more where an answer takes long. V(0) for once.
      - In a play only.
    type: int
    default: 0
seealso:
  - module: mnrun.train.slurm_job
"""

EXAMPLES = r"""
- name: See how the run is
  mnrun.train.slurm_job_info:
    run_dir: ~/training/multinode
  register: run_status

- name: Show the last lines of the logs of SFT, and new ones as they come
  mnrun.train.slurm_job_info:
    run_dir: ~/training/multinode
    stage: sft
    log_lines: 20
    follow: true
"""

RETURN = r"""
stages:
  description:
    - One entry for each stage with a record, with the fields that M(mnrun.train.slurm_job) returns
      and the following.
  type: list
  elements: dict
  returned: success
  contains:
    digest:
      description: Changes when the state, its reason or the training step does.
      type: str
    known:
      description: False if the state of the job is unknown; the last known one is returned.
      type: bool
    detail:
      description: Why the state is not known.
      type: str
    kind:
      description: Kind of the job, V(slurm) or V(ray).
      type: str
    from:
      description: >-
        The stages whose results it is based on, each with C(stage), C(fingerprint) and the C(job)
        of that result. Empty if only one stage was asked for.
      type: list
    seconds:
      description: How long it has been waiting, or running, or how long it ran.
      type: float
    settled:
      description: With O(causes), whether the end of the attempt is in the record.
      type: bool
    verified:
      description: With O(causes), whether the attempt left the complete result of the stage.
      type: bool
    problem:
      description: With O(causes), of an attempt without a result, what happened and what to do.
      type: str
    cause:
      description: >-
        With O(causes), why it ended, C(code) and C(title), and whether the same may succeed on the
        next attempt (C(passing)).
      type: dict
    node_names:
      description: Of a job that runs, the names of its nodes.
      type: list
      elements: str
    why:
      description: Why the job waits, in words; empty where that is not known, or it does not wait.
      type: str
    timing:
      description: >-
        Times and cost, null where not known; C(now), C(expected) (when a job that waits starts by
        Slurm's estimate), C(saved) (when the newest checkpoint was written, with O(checkpoints)) in
        epoch seconds; C(step_seconds); of the Slurm job that it runs in C(job) (its id), C(gpus),
        C(nodes), C(since) (its start) and C(limit) (in seconds); C(gpu_hours) of all attempts until
        now.
      type: dict
    log:
      description: >-
        Lines of the logs (C(lines), each with C(path) and C(line)), C(offset), and how many bytes
        of which log were C(skipped) because there were too many new ones.
      type: dict
gpu_hours:
  description: >-
    GPU-hours that the jobs of these stages have C(used), and what live ones may still take until
    their time limits (C(reserved)), by the records.
  type: dict
  returned: success
  sample: {used: 12.5, reserved: 0.0}
notify_fault:
  description: What went wrong with the last notification (M(mnrun.train.notify)), or empty.
  type: str
  returned: success
holder:
  description: >-
    The relay that holds the run, C(number), C(job), C(stage) and C(host), as it was before the
    stages were read. The number is 0 if the run was not handed over.
  type: dict
  returned: success
damaged:
  description: >-
    Records that cannot be trusted, each with its C(stage) and a C(msg) for the user. A warning is
    issued for each.
  type: list
  elements: dict
  returned: success
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.clock import Clock
from ..module_utils.base.process import run
from ..module_utils.runs.backends import slurm_or_ray
from ..module_utils.runs.training_runs import require
from ..module_utils.slurm.client import SlurmClient
from ..module_utils.slurm.nodelist import names_in
from ..module_utils.stage.module import INFO_OPTIONS, run_info
from ..module_utils.stage.status import BackendOf


def main() -> None:
    options = {
        **INFO_OPTIONS,
        "follow": {"type": "bool", "default": False},
        "named": {"type": "bool", "default": False},
        "watch": {"type": "int", "default": 0},
    }
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)

    def backend_of(run_dir: Path, clock: Clock) -> BackendOf:
        if module.params["named"]:
            require(run_dir)
        return slurm_or_ray(run_dir, SlurmClient(run, clock))

    run_info(module, backend_of, names_in)


if __name__ == "__main__":
    main()
