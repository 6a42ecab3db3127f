#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Check model, data, trainer options and Slurm requests before a submission
description:
  - Finds what would make a training fail hours later, and reports all of it at once. Reads only;
    large files are never loaded into memory completely.
  - The model folder has to be complete (configuration, tokenizer, every file of weights in its
    index, no Git LFS pointers). The data has to be readable parquet with the columns and nested
    fields that the trainers read according to their options, without empty prompts.
  - The trainers' options are checked as their profiles say. Slurm requests are
    compared with the partitions and nodes of the cluster.
  - Must run with the training environment's Python (C(ansible_python_interpreter)), which has
    pyarrow, hydra and verl.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
extends_documentation_fragment: mnrun.train.read_only
options:
  model:
    description: Model folder in Hugging Face format. Empty for none.
    type: str
    default: ""
  other_models:
    description: More model folders to check, such as one that PPO starts from. Empty ones are
      ignored.
    type: list
    elements: str
    default: []
  train_files:
    description: Parquet files to train on.
    type: list
    elements: str
    default: []
  test_files:
    description: Parquet files to validate on.
    type: list
    elements: str
    default: []
  trainers:
    description:
      - Trainers whose options to check. These determine which files and columns they read.
    type: list
    elements: dict
    default: []
    suboptions:
      stage:
        description: Name of the stage, for messages.
        type: str
        required: true
      profile:
        description: Name of the trainer's profile, for messages.
        type: str
        default: ""
      needs:
        description: The C(package) and C(version) that the profile fits.
        type: dict
        default: {}
      others:
        description: The same of every profile, by its name.
        type: dict
        default: {}
      program:
        description: The module, script or program that is started.
        type: str
      validate:
        description: >-
          How the options are checked, C(by) which rules and with which C(config). Empty if they are
          not.
        type: dict
        default: {}
      parse:
        description: >-
          With what to start the C(program) (or its C(text)), so that its own parser checks the
          options. Empty if it does not.
        type: dict
        default: {}
      data:
        description: What is read of the data (C(files), C(columns)), where no options are checked.
        type: dict
        default: {}
      model:
        description: The model that the stage starts from, if it is another than O(model).
        type: str
        default: ""
      room:
        description: Bytes of a checkpoint for each weight, likewise. 0 if not known.
        type: float
        default: 0
      last_step:
        description: The last step, likewise. 0 if not known.
        type: int
        default: 0
      overrides:
        description: The trainer's options as arguments.
        type: list
        elements: str
        default: []
      ranks:
        description: On how many GPUs SFT runs. 0 if that is not known.
        type: int
        default: 0
      refused:
        description: Options that a user set but must not set, each with what to use instead.
        type: dict
        default: {}
      faults:
        description: What the profile refuses of the options.
        type: list
        elements: str
        default: []
      resumes:
        description: Whether the trainer can resume from a checkpoint.
        type: bool
        default: true
      services:
        description: What runs beside the trainer, each with its C(name) and C(command).
        type: list
        elements: dict
        default: []
      keep:
        description: >-
          Which checkpoints to keep (C(newest), C(best), C(every)), instead of the trainer's own
          option. Empty to use that one.
        type: dict
        default: {}
  chat_template:
    description: A chat template of the user's own, in place of the model's. Empty for none.
    type: str
    default: ""
  activation:
    description: >-
      The script that jobs source, with which a reward function of a user's own is imported. Empty
      for none.
    type: str
    default: ""
  code:
    description: Trainers to identify, with the files that their options name.
    type: list
    elements: dict
    default: []
    suboptions:
      stage:
        description: Name of the stage.
        type: str
        required: true
      program:
        description: The trainer's Python module, or the path of a script.
        type: str
        required: true
      options:
        description: Options that determine the result, by name.
        type: dict
        required: true
  slurm:
    description: Slurm requests to check.
    type: list
    elements: dict
    default: []
    suboptions:
      stage:
        description: Name of the stage, for messages.
        type: str
        required: true
      options:
        description: Options of sbatch, by their long names without the dashes.
        type: dict
        required: true
  networks:
    description:
      - Variables that name interfaces or adapters for NCCL and gloo (C(NCCL_SOCKET_IFNAME),
        C(GLOO_SOCKET_IFNAME), C(NCCL_IB_HCA)).
    type: dict
    default: {}
  image:
    description: >-
      What identifies the image that this runs in. It counts as the trainer's version does.
    type: str
    default: ""
  trainer_is_here:
    description: >-
      Whether this Python has the trainer. If not, options and rows are not checked, which is
      reported as a warning.
    type: bool
    default: true
  partial:
    description: Report faults in RV(partial) instead of failing, for a second part of the checks.
    type: bool
    default: false
  report:
    description: Return faults in RV(findings) instead of failing, for a list of everything.
    type: bool
    default: false
  outside:
    description: RV(partial) of the first part, which is reported with this one.
    type: dict
    default: {}
  found:
    description: The networks of a compute node, as the job wrote them. Empty if it is not known.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Check everything before the training
  mnrun.train.preflight:
    model: ~/model/Llama-3.2-1B-Instruct
    train_files: [~/data/gsm8k/train.parquet]
    trainers:
      - stage: ppo
        validate: {by: verl-hydra, config: ppo_trainer}
        overrides: [data.train_batch_size=256, trainer.nnodes=2]
    slurm:
      - stage: ray
        options: {partition: team-a, nodes: 2, gpus-per-node: 8}
  vars:
    ansible_python_interpreter: "{{ environment_result.python }}"
"""

RETURN = r"""
findings:
  description:
    - Everything that was found, one by one. C(level) is V(ok), V(warning) or V(fault), C(part) what
      it is about, C(what) a text for people, and C(variables) the variables that decide it.
  type: list
  elements: dict
  returned: always
faults:
  description: What is wrong, one entry for each fault. Empty on success.
  type: list
  elements: str
  returned: always
rows:
  description: Rows of each data file.
  type: dict
  returned: always
checked:
  description: What was checked, in a few lines for people.
  type: list
  elements: str
  returned: success
  sample:
    - >-
      Checked: the model ~/model/toy (1,062,656 weights), 2,048 rows to train on (1 file).
checkpoints:
  description:
    - For each stage of O(trainers), the approximate size of one of its checkpoints (C(step_bytes);
      0 if it is not known) and how many there will be at most (C(kept)).
  type: dict
  returned: success
  sample: {sft: {step_bytes: 19774000000, kept: 3}}
partial:
  description: What the first part of the checks found, for O(outside) of the second.
  type: dict
  returned: with O(partial=true)
identities:
  description:
    - Hashes of the content of C(model), C(train_files), C(test_files) and C(other_models), if any.
      They become part of the specs of the stages that use them.
    - In C(code), for each stage of O(code), the C(version) of the trainer and, in C(files), the
      content of each file that an option names.
  type: dict
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.finding import as_dicts
from ..module_utils.base.module_exit import with_edge
from ..module_utils.base.process import run
from ..module_utils.preflight.check import check
from ..module_utils.preflight.report import Report

_TEXTS = {"type": "list", "elements": "str", "default": []}
_STAGE = {"type": "str", "required": True}
SPEC = {
    "model": {"type": "str", "default": ""},
    "other_models": _TEXTS,
    "train_files": _TEXTS,
    "test_files": _TEXTS,
    "trainers": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "stage": _STAGE,
            "profile": {"type": "str", "default": ""},
            "needs": {"type": "dict", "default": {}},
            "others": {"type": "dict", "default": {}},
            "program": {"type": "str"},
            "validate": {"type": "dict", "default": {}},
            "data": {"type": "dict", "default": {}},
            "model": {"type": "str", "default": ""},
            "room": {"type": "float", "default": 0},
            "last_step": {"type": "int", "default": 0},
            "parse": {"type": "dict", "default": {}},
            "overrides": _TEXTS,
            "ranks": {"type": "int", "default": 0},
            "refused": {"type": "dict", "default": {}},
            "resumes": {"type": "bool", "default": True},
            "faults": _TEXTS,
            "keep": {"type": "dict", "default": {}},
            "services": {"type": "list", "elements": "dict", "default": []},
        },
    },
    "code": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "stage": _STAGE,
            "program": {"type": "str", "required": True},
            "options": {"type": "dict", "required": True},
        },
    },
    "slurm": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"stage": _STAGE, "options": {"type": "dict", "required": True}},
    },
    "activation": {"type": "str", "default": ""},
    "chat_template": {"type": "str", "default": ""},
    "networks": {"type": "dict", "default": {}},
    "found": {"type": "str", "default": ""},
    "image": {"type": "str", "default": ""},
    "trainer_is_here": {"type": "bool", "default": True},
    "partial": {"type": "bool", "default": False},
    "report": {"type": "bool", "default": False},
    "outside": {"type": "dict", "default": {}},
}


def message(faults: list[str]) -> str:
    lines = [f"  {number}. {fault}" for number, fault in enumerate(faults, 1)]
    count = f"{len(faults)} problems were" if len(faults) > 1 else "One problem was"
    return "\n".join([f"{count} found before anything was submitted:", *lines])


def answer(report: Report, listed: bool) -> dict[str, Any]:
    found = {
        "faults": report.faults,
        "rows": report.rows,
        "findings": as_dicts(report.findings()),
        "warnings": [] if listed else report.warnings,
    }
    if report.faults and not listed:
        return {"failed": True, "msg": message(report.faults), **found}
    return {
        "changed": False,
        "identities": report.identities,
        "checkpoints": report.checkpoints,
        "checked": report.checked,
        **found,
    }


def first_part(report: Report) -> dict[str, Any]:
    parts = ("faults", "warnings", "checked", "parts", "right")
    return {"changed": False, "partial": {name: getattr(report, name) for name in parts}}


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)

    def look() -> dict[str, Any]:
        report = check(module.params, run)
        partial, listed = module.params["partial"], module.params["report"]
        return first_part(report) if partial else answer(report, listed)

    with_edge(module, look)


if __name__ == "__main__":
    main()
