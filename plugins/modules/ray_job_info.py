#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: ray_job_info
short_description: How the Ray jobs of a run are
description:
  - Reads the run's ledger on the shared file system, asks the Ray head about jobs that may be
    alive, and reads their logs for the training's progress. Changes nothing.
  - Runs on the head, or without O(head) on the login node. There it tells what the files and Slurm
    say.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
extends_documentation_fragment:
  [mnrun.train.info, mnrun.train.folders, mnrun.train.ray_head, mnrun.train.read_only]
seealso:
  - module: mnrun.train.ray_job
  - module: mnrun.train.slurm_job_info
"""

EXAMPLES = r"""
- name: See how PPO is
  mnrun.train.ray_job_info:
    run_dir: ~/training/multinode
    stage: ppo
    head: "{{ ray_cluster_result.head }}"
  delegate_to: ray-head
"""

RETURN = r"""
stages:
  description:
    - One entry for each stage with a record, with the fields that M(mnrun.train.ray_job) returns
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
      description: Why it is not known.
      type: str
    kind:
      description: Whose job it is, V(slurm) or V(ray).
      type: str
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
    from:
      description: >-
        The stages whose results it stands on, each with C(stage), C(fingerprint) and the C(job) of
        that result. Empty if only one stage was asked for.
      type: list
    seconds:
      description: How long it has been waiting, or running, or how long it ran.
      type: float
    log:
      description: Lines of the logs (C(lines), each with C(path) and C(line)), and C(offset).
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
    Records that cannot be trusted, each with its C(stage) and a C(msg) for the user. They are
    warned of as well.
  type: list
  elements: dict
  returned: success
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.clock import Clock
from ..module_utils.ray.backend import RayJob
from ..module_utils.ray.connect import ray_backend
from ..module_utils.record.contract import Backend, Record
from ..module_utils.record.ray_head import HEAD_OPTIONS
from ..module_utils.stage.module import INFO_OPTIONS, run_info
from ..module_utils.stage.offline import RecordedBackend
from ..module_utils.stage.status import BackendOf


def main() -> None:
    options = {**INFO_OPTIONS, "head": {"type": "dict", "options": HEAD_OPTIONS}}
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    given = module.params

    def ray_or_recorded(run_dir: Path, clock: Clock) -> BackendOf:
        def choose(record: Record) -> Backend:
            if record.kind != "ray":
                return RecordedBackend()
            return ray_backend(RayJob(run_dir, record.stage), given["head"], clock)

        return choose

    run_info(module, ray_or_recorded)


if __name__ == "__main__":
    main()
