#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: relay_process
short_description: A relay as a process on the login node, started once
description:
  - Starts a script in a session of its own, which survives the login, and ends it. It is recorded
    as M(mnrun.train.slurm_job) records a job; M(mnrun.train.slurm_job_info) shows it.
  - The process is identified by host, process id, start and boot. It can be stopped on its own host
    only. On another one it counts as alive while its heartbeat is fresh, and is unknown otherwise.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
extends_documentation_fragment: [mnrun.train.stage, mnrun.train.folders]
options:
  name:
    description: Base of its name in messages. Required for O(state=present).
    type: str
  script:
    description: The script, for bash. Required for O(state=present).
    type: str
  output:
    description: Path of its log, to which it appends. Required for O(state=present).
    type: str
    default: ""
seealso:
  - module: mnrun.train.slurm_job
"""

EXAMPLES = r"""
- name: Start the relay here
  mnrun.train.relay_process:
    run_dir: ~/training/multinode
    stage: relay-login
    name: relay
    script: "{{ lookup('ansible.builtin.template', 'relay.sbatch.j2') }}"
    output: ~/training/multinode/relay/relay.log
    directories: [~/training/multinode/relay]
"""

RETURN = r"""
action:
  description: What was done, or would be done in check mode, as of M(mnrun.train.slurm_job).
  type: str
  returned: success
msg:
  description: Why, in words.
  type: str
  returned: always
stage:
  description: The stage.
  type: str
  returned: always
job:
  description: The process, with C(id), C(state), C(nodes) (its host) and C(exit_code).
  type: dict
  returned: when there is one
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.clock import Clock
from ..module_utils.base.files import expand
from ..module_utils.base.safe_name import check_name
from ..module_utils.handover.process import ProcessBackend, Program
from ..module_utils.record.contract import Backend, Request
from ..module_utils.stage.module import STAGE_OPTIONS, make_request, run_stage

OPTIONS = {
    **STAGE_OPTIONS,
    "name": {"type": "str"},
    "script": {"type": "str"},
    "output": {"type": "str", "default": ""},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=OPTIONS,
        required_if=[("state", "present", ("name", "script", "output"))],
        supports_check_mode=True,
    )

    def make() -> tuple[Request, Backend]:
        given = module.params
        name = check_name("name", given["name"] or given["stage"])
        request = make_request(given, "process", name, service=True)
        output = str(expand(given["output"])) if given["output"] else ""
        program = Program(request.run_dir, request.stage, given["script"] or "", output)
        return request, ProcessBackend(program, Clock())

    run_stage(module, make)


if __name__ == "__main__":
    main()
