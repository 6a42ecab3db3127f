#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
"""Documentation only: the action in plugins/action runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stage_end
short_description: Wait until a stage has ended
description:
  - Waits for the end of a stage's newest attempt, and of a retry that follows it. Submits nothing
    and records nothing; the scheduler is queried every 30 seconds.
  - Fails unless the stage is done then. In check mode it reports the state without waiting.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
extends_documentation_fragment: mnrun.train.read_only
options:
  run_dir:
    description: The run folder, on the shared file system.
    type: str
    required: true
  named:
    description: A person named the run, so it is an error if nothing was ever submitted in it.
    type: bool
    default: false
  stage:
    description: The stage.
    type: str
    required: true
  timeout:
    description: Minutes after which to fail if the stage has not ended; V(0) for no limit.
    type: int
    default: 0
seealso:
  - module: mnrun.train.slurm_job_info
"""

EXAMPLES = r"""
- name: Wait for SFT, for a day at most
  mnrun.train.stage_end:
    run_dir: ~/training/multinode
    stage: sft
    timeout: 1440
"""

RETURN = r"""
msg:
  description: How the stage ended, or why that is not known.
  type: str
  returned: always
"""
