#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: slurm_job
short_description: A stage of a run as a Slurm job, submitted once
description:
  - Submits a batch script with C(sbatch), follows it with C(squeue), C(scontrol) and C(sacct), and
    ends it with C(scancel).
  - Before each submission an intent is written to the run's ledger, and the job's name and comment
    identify it. A run that is interrupted at any moment, even during C(sbatch), loses no job and
    starts no second one.
  - The job itself records its start and its end beside its script, so that nothing is lost at a
    site without accounting.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
extends_documentation_fragment: [mnrun.train.stage, mnrun.train.folders]
options:
  name:
    description:
      - Base of the job's name, which is C(<name>-<fingerprint8>-<attempt>).
      - Required for O(state=present).
    type: str
  run_name:
    description: >-
      Prefix of O(name) in the job's name, so that C(squeue) shows which run a job belongs to.
    type: str
    default: ""
  script:
    description:
      - The batch script, for bash, without C(#SBATCH) directives, see O(sbatch).
      - The job runs in O(run_dir), in an environment that does not depend on where it was
        submitted from. C($MNRUN_RECORD) is the folder of the script and O(files).
      - Required for O(state=present).
    type: str
  sbatch:
    description:
      - Options of C(sbatch) by their long names, without the dashes. They become the directives of
        the script.
      - V(true) stands for an option without a value (C(exclusive)). Empty values (V(null), V(""),
        and V(false) for an option that can do without a value) leave an option out.
      - A time and a text that look like a number have to be in quotes. Without them YAML reads
        V(2:00:00) as 7200, which sbatch takes for minutes.
      - Names that C(sbatch --help) does not know are refused, and so are those that this module
        sets itself (C(job-name), C(output), C(error), C(comment), C(chdir) and others).
      - They are not part of O(spec); changing them does not run a stage again.
    type: dict
    default: {}
  output:
    description: >-
      Path of the job's standard output, with C(%x) for the job's name and C(%j) for its id.
    type: str
    default: ""
  error:
    description: Path of the job's standard error, likewise. Empty for the same file.
    type: str
    default: ""
  service:
    description: >-
      The job is a service (a Ray cluster) without a result of its own. Once it is over, however it
      ended, O(state=present) starts it again.
    type: bool
    default: false
  gpu_hours_max:
    description: >-
      GPU-hours that all jobs of the run may take. A job that may pass this bound, by its time limit
      (without one, by the time of the last attempt), is refused. V(0) for no bound.
    type: float
    default: 0.0
  allocation:
    description:
      - In an allocation of one's own, the file to which its batch script wrote its environment
        (C(env -0)). The script is then started there, on its first node, in place of a job of its
        own, and O(sbatch) counts for nothing. RV(job) has the allocation's id, a dot, and six
        digits.
      - Empty for a job of its own.
    type: path
    default: ""
  unless_in_use_by:
    description: >-
      With O(state=absent), leave a job alone while an attempt of this stage runs in it, or may
      start soon.
    type: str
    default: ""
  if_used:
    description: >-
      With O(unless_in_use_by), stop a job only if that stage has run in it; leave one alone that it
      has not used yet.
    type: bool
    default: false
seealso:
  - module: mnrun.train.slurm_job_info
"""

EXAMPLES = r"""
- name: Fine-tune, and wait for it
  mnrun.train.slurm_job:
    run_dir: ~/training/multinode
    stage: sft
    name: training_sft
    script: "{{ lookup('ansible.builtin.template', 'sft.sbatch.j2') }}"
    sbatch: {partition: team, nodes: 2, gpus-per-node: 8, time: "2:00:00"}
    output: ~/training/multinode/sft/logs/%x-%j.out
    error: ~/training/multinode/sft/logs/%x-%j.err
    spec: {model: ~/model/Llama-3.2-1B-Instruct, epochs: 2}
    directories: [~/training/multinode/sft/logs]
    checkpoints: {path: ~/training/multinode/sft/checkpoints, hf: true}
    wait: true

- name: Stop the Ray cluster that PPO brought up, in order
  mnrun.train.slurm_job:
    run_dir: ~/training/multinode
    stage: ray
    state: absent
    match_labels: {owner: ppo}
    stop_signal: TERM
    stop_timeout: 30
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
  returned: always
attempt:
  description: Number of the attempt that RV(job) belongs to.
  type: int
  returned: when something was submitted
job:
  description: The job; times are seconds since the epoch.
  type: dict
  returned: when something was submitted
  sample:
    id: "12"
    name: training_sft-0a1b2c3d-1
    phase: running
    state: RUNNING
    reason: ""
    exit_code: null
    start: 1790000000.0
    end: null
    nodes: osk-gpu[94-95]
    stdout: /home/user/training/multinode/sft/logs/training_sft-0a1b2c3d-1-12.out
    stderr: /home/user/training/multinode/sft/logs/training_sft-0a1b2c3d-1-12.err
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
  sample: {step: 40, total: 160, metrics: {loss: 1.93, first_loss: 5.9}}
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
  description: The result, if the work is done and the result is complete.
  type: dict
  returned: always
  sample:
    step: 160
    path: /home/user/training/multinode/sft/checkpoints/global_step_160
    model: /home/user/training/multinode/sft/checkpoints/global_step_160/huggingface
    metrics: {loss: 0.12, first_loss: 5.9}
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
    The cause is not the training's fault, and another attempt follows automatically.
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

from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.clock import Clock
from ..module_utils.base.process import run
from ..module_utils.base.safe_name import check_name
from ..module_utils.record.contract import Backend, Request
from ..module_utils.record.log_pattern import log_pattern
from ..module_utils.slurm.allocation import read_allocation, seconds_left
from ..module_utils.slurm.backend import SlurmBackend, SlurmJob, job_files
from ..module_utils.slurm.client import SlurmClient
from ..module_utils.slurm.directives import check_body, sbatch_options
from ..module_utils.slurm.judge import gpus_of_job
from ..module_utils.slurm.times import time_limit_of
from ..module_utils.stage.module import STAGE_OPTIONS, make_request, run_stage

OPTIONS = {
    **STAGE_OPTIONS,
    "name": {"type": "str"},
    "run_name": {"type": "str", "default": ""},
    "script": {"type": "str"},
    "sbatch": {"type": "dict", "default": {}},
    "output": {"type": "str", "default": ""},
    "error": {"type": "str", "default": ""},
    "service": {"type": "bool", "default": False},
    "gpu_hours_max": {"type": "float", "default": 0.0},
    "allocation": {"type": "path", "default": ""},
    "unless_in_use_by": {"type": "str", "default": ""},
    "if_used": {"type": "bool", "default": False},
}


def job_name(given: dict[str, Any]) -> str:
    """The base of the job's name; a job that is only to be ended needs none."""
    if given["state"] == "absent":
        return str(given["stage"])
    name = check_name("name", given["name"] or "")
    return f"{check_name('run_name', given['run_name'])}-{name}" if given["run_name"] else name


def main() -> None:
    module = AnsibleModule(
        argument_spec=OPTIONS,
        required_if=[("state", "present", ("name", "script"))],
        supports_check_mode=True,
    )

    def make() -> tuple[Request, Backend]:
        given = module.params
        request = make_request(given, "slurm", job_name(given), given["service"])
        client = SlurmClient(run, Clock())
        allocation = read_allocation(Path(given["allocation"])) if given["allocation"] else None
        sbatch = sbatch_options(given["sbatch"], client.help)
        request = replace(
            request,
            gpus=gpus_of_job(sbatch),
            time_limit=seconds_left(client, allocation) if allocation else time_limit_of(sbatch),
            gpu_hours_max=given["gpu_hours_max"],
        )
        job = SlurmJob(
            run_dir=request.run_dir,
            stage=request.stage,
            script=check_body(given["script"] or "") if given["state"] == "present" else "",
            sbatch=sbatch,
            files=job_files(given["files"]),
            output=log_pattern(given["output"], request.run_dir),
            error=log_pattern(given["error"], request.run_dir),
            allocation=allocation,
        )
        return request, SlurmBackend(client, job)

    run_stage(module, make)


if __name__ == "__main__":
    main()
