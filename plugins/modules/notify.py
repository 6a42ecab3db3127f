#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: notify
short_description: Notify people of the state of a run, once
description:
  - Sends an event to commands and webhooks, all at once and within ten seconds.
  - An event is sent once for each run, stage and attempt, whoever sees it and how often. Its mark
    is made before it is sent; if the sender dies between the two, the event is lost.
  - What goes wrong is kept for C(mnrun status), and is no failure.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
attributes:
  check_mode:
    support: full
    description: Nothing is sent.
  diff_mode:
    support: none
    description: Changes nothing that has a difference to show.
  idempotent:
    support: full
    description: An event is sent once.
options:
  run_dir:
    description: The run folder, on the shared file system.
    type: str
    required: true
  run_name:
    description: The run's name, if it has any.
    type: str
    default: ""
  targets:
    description: Whom to tell. Each entry has one of C(command), C(webhook_file) and C(mail).
    type: list
    elements: dict
    required: true
    suboptions:
      command:
        description: >-
          Path of a program on this host, which gets the event as JSON on its standard input, and
          its fields as variables C(MNRUN_EVENT), C(MNRUN_TITLE) and so on.
        type: str
        default: ""
      webhook_file:
        description: >-
          Path of a file with an address of C(https) or C(http), which only its owner can read
          (mode 600). The address is in no output.
        type: str
        default: ""
      mail:
        description: >-
          An address to which Slurm itself writes about each job. This module sends nothing to it.
        type: str
        default: ""
      form:
        description: What is sent to the address.
        type: str
        choices: [slack, teams, ntfy, json]
        default: json
  event:
    description: >-
      What it is about. V(stage) for the end of the stage in O(result), if its job has ended;
      V(check) only checks O(targets), and fails if one of them cannot be used.
    type: str
    choices: [stage, waiting, run_done, run_failed, check]
    default: stage
  result:
    description: >-
      The result of M(mnrun.train.slurm_job) or M(mnrun.train.ray_job) that it is about. The mark is
      made in its C(record), for its C(attempt).
    type: dict
    default: {}
  text:
    description: What to say about a whole run, in lines.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Tell what SFT came to
  mnrun.train.notify:
    run_dir: ~/training/multinode
    targets:
      - {webhook_file: ~/.config/mnrun/slack, form: slack}
      - {command: ~/bin/notify}
    result: "{{ sft_result }}"
"""

RETURN = r"""
sent:
  description: The event that was sent; empty if there was none, or if it was sent before.
  type: str
  returned: success
  sample: stage_done
faults:
  description: What went wrong, a line for each target.
  type: list
  elements: str
  returned: success
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.errors import Invalid
from ..module_utils.base.files import expand, explain
from ..module_utils.base.module_exit import with_edge
from ..module_utils.notify.event import Event, mark, of_run, of_stage, of_waiting
from ..module_utils.notify.forms import FORMS
from ..module_utils.notify.send import faults_of, send
from ..module_utils.record.notified import first_to_notify, keep_fault

SPEC = {
    "run_dir": {"type": "str", "required": True},
    "run_name": {"type": "str", "default": ""},
    "targets": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "command": {"type": "str", "default": ""},
            "webhook_file": {"type": "str", "default": ""},
            "mail": {"type": "str", "default": ""},
            "form": {"type": "str", "choices": list(FORMS), "default": "json"},
        },
    },
    "event": {
        "type": "str",
        "choices": ["stage", "waiting", "run_done", "run_failed", "check"],
        "default": "stage",
    },
    "result": {"type": "dict", "default": {}},
    "text": {"type": "list", "elements": "str", "default": []},
}


def tell(given: dict[str, Any], check: bool) -> dict[str, Any]:
    if given["event"] != "check":
        return _told(given, check)
    faults = faults_of(given["targets"])
    if faults:
        raise Invalid("mnrun_notify: " + "\n".join(faults))
    return {"changed": False, "sent": "", "faults": []}


def _told(given: dict[str, Any], check: bool) -> dict[str, Any]:
    result, run_dir = given["result"], expand(given["run_dir"])
    event, faults, sent = _event(given, str(run_dir)), [], ""
    try:
        if event and not check and _is_ours(event, result):
            sent, faults = event.event, send(given["targets"], event)
            keep_fault(run_dir, f"{event.title}: {'; '.join(faults)}" if faults else "")
    except OSError as error:  # of a mark: no reason to end a run
        faults.append(explain(error))
    return {"changed": bool(sent), "sent": sent, "faults": faults}


def _event(given: dict[str, Any], run_dir: str) -> Event | None:
    kind, result, run = given["event"], given["result"], given["run_name"]
    if kind == "stage":
        return of_stage(result, run, run_dir)
    if kind == "waiting":
        return of_waiting(result, run, run_dir)
    return of_run(kind, run, run_dir, "\n".join(given["text"]))


def _is_ours(event: Event, result: dict[str, Any]) -> bool:
    if not result.get("record"):
        return False
    return first_to_notify(Path(result["record"]), mark(event, int(result.get("attempt") or 0)))


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    with_edge(module, lambda: tell(module.params, module.check_mode))


if __name__ == "__main__":
    main()
