#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: ray_job
short_description: A stage of a run as a Ray job, submitted once
description:
  - Submits a bash script through Ray's job API on the head of a Ray cluster, follows it by its
    status there, and ends it.
  - Runs on the head. Without O(head), on the login node, it can still report what remains to be
    done (C(check_mode)), and follow an O(attempt) to its end, from the run's ledger and from Slurm.
  - The script records its own start and end, and its output goes to the shared file system, so that
    nothing is lost with the head. A job that was lost with its cluster is retried.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
extends_documentation_fragment:
  [mnrun.train.stage, mnrun.train.folders, mnrun.train.ray_head]
options:
  script:
    description:
      - What the driver runs, for bash, without a first line C(#!). C($MNRUN_RECORD) is the folder
        of O(files).
      - Required for O(state=present).
    type: str
  output:
    description: >-
      Path of the driver's log on the shared file system, with C(%x) for the submission id. Empty
      for a file in the record's folder.
    type: str
    default: ""
seealso:
  - module: mnrun.train.ray_job_info
  - module: mnrun.train.ray_cluster_info
"""

EXAMPLES = r"""
- name: See whether PPO is done already, without a Ray cluster
  mnrun.train.ray_job:
    run_dir: ~/training/multinode
    stage: ppo
    spec: {model: ~/model/Llama-3.2-1B-Instruct, epochs: 15}
    script: python -m verl.trainer.main_ppo
    checkpoints: {path: ~/training/multinode/ppo/checkpoints, parts: [actor, critic]}
  check_mode: true
  register: plan

- name: Train, on the head
  mnrun.train.ray_job:
    run_dir: ~/training/multinode
    stage: ppo
    head: "{{ ray_cluster_result.head }}"
    spec: {model: ~/model/Llama-3.2-1B-Instruct, epochs: 15}
    script: python -m verl.trainer.main_ppo
    output: ~/training/multinode/ppo/logs/%x.log
    checkpoints: {path: ~/training/multinode/ppo/checkpoints, parts: [actor, critic]}
    wait: true
  delegate_to: ray-head
"""

RETURN = r"""
action:
  description: What was done, or would be done in check mode.
  type: str
  returned: success
  choices: [submitted, attached, adopted, resubmitted, replaced, stopped, nothing]
  sample: submitted
msg:
  description: Why, in words.
  type: str
  returned: always
notes:
  description: What else was done for a submission; RV(msg) contains it too.
  type: list
  elements: str
  returned: always
  sample: ["It excludes osk-gpu95, which failed."]
stage:
  description: The stage.
  type: str
  returned: always
fingerprint:
  description: SHA-256 of the spec.
  type: str
  returned: when there is a record
attempt:
  description: Number of the attempt that RV(job) belongs to.
  type: int
  returned: when something was submitted
job:
  description: The job; its id is the submission id, times are seconds since the epoch.
  type: dict
  returned: when something was submitted
  sample:
    id: ppo-0a1b2c3d-1
    name: ppo-0a1b2c3d-1
    phase: running
    state: RUNNING
    reason: Job is currently running.
    exit_code: null
    start: 1790000000.0
    end: null
    nodes: ""
    stdout: /home/user/training/multinode/ppo/logs/ppo-0a1b2c3d-1.log
    stderr: ""
record:
  description: Folder of the record, with the script and what the job wrote about itself.
  type: str
  returned: when there is a record
labels:
  description: Labels of the record.
  type: dict
  returned: always
progress:
  description: Progress of the training according to its log (first_… are the first values).
  type: dict
  returned: always
  sample: {step: 40, total: 435, metrics: {reward: 0.31, first_reward: 0.02}}
gpus:
  description: >-
    How much the job used its GPUs, sampled once a second by itself: C(gpus) (how many),
    C(busy_percent) (the mean), C(memory_mib) of C(total_mib) (the most on one), C(text), and
    the same of each of the C(nodes) with a coarse time line. None where it is not known.
  type: dict
  returned: always
services:
  description: >-
    The services beside the training, by nodes: C(name), C(node), C(address) and C(log), and after
    how many seconds it answered (C(up_seconds), null if it has not yet).
  type: list
  elements: dict
  returned: always
  version_added: 0.2.0
output:
  description: The result, if the work is done and its result is whole.
  type: dict
  returned: always
needs_yes:
  description: It was refused for want of O(set_aside), or by O(ask_gpu_hours); nothing was changed.
  type: bool
  returned: only then
plan:
  description:
    - In check mode, what would be done. C(does) is as RV(action); C(first_step) of C(steps), V(0)
      where it is not known.
    - C(changes), as lines, since the stage was last tried; C(seconds) by what steps took then;
      C(aside), the folder with checkpoints of other options that would be moved, C(finished) if
      they are of finished work; C(bytes) of checkpoints to be written; C(start), when Slurm
      expects to start it, in seconds since the epoch.
  type: dict
  returned: in check mode
faults:
  description: >-
    What is missing or damaged in the result of a job that ended well, so that the work is done
    again.
  type: list
  elements: str
  returned: always
  sample: []
cause:
  description: Why the job ended without its work being done, and what to do about it.
  type: dict
  returned: failure of the job
  sample:
    code: time_limit
    title: the job's time limit
    advice: Allow more time, or save more often.
retryable:
  description: >-
    The cause is not the training's fault, and another attempt is to be made by itself.
  type: bool
  returned: failure of the job
log_tail:
  description: The lines of the log that show why the job failed.
  type: list
  elements: str
  returned: failure of the job
log_path:
  description: The log that RV(log_tail) is from.
  type: str
  returned: failure of the job
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.clock import Clock
from ..module_utils.base.errors import Invalid
from ..module_utils.ray.backend import RayJob
from ..module_utils.ray.connect import ray_backend
from ..module_utils.record.contract import Backend, Request
from ..module_utils.record.log_pattern import log_pattern
from ..module_utils.record.ray_head import HEAD_OPTIONS
from ..module_utils.slurm.backend import job_files
from ..module_utils.stage.module import STAGE_OPTIONS, make_request, run_stage

OPTIONS = {
    **STAGE_OPTIONS,
    "head": {"type": "dict", "options": HEAD_OPTIONS},
    "script": {"type": "str"},
    "output": {"type": "str", "default": ""},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=OPTIONS,
        required_if=[("state", "present", ("script",))],
        supports_check_mode=True,
    )

    def make() -> tuple[Request, Backend]:
        given = module.params
        submits = given["state"] == "present" and given["attempt"] is None
        if not given["head"] and submits and not module.check_mode:
            raise Invalid("Without `head` this submits nothing: use check mode, or `attempt`.")
        request = make_request(given, "ray", given["stage"])
        job = RayJob(
            request.run_dir,
            request.stage,
            script=given["script"] or "",
            files=job_files(given["files"]),
            output=log_pattern(given["output"], request.run_dir),
        )
        return request, ray_backend(job, given["head"], Clock())

    run_stage(module, make)


if __name__ == "__main__":
    main()
