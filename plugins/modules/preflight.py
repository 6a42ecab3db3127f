#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Check model, data, trainer options and Slurm requests before a submission
description:
  - Finds what would make a training fail hours later in the queue, and reports all of it at once.
    Reads only; nothing is loaded into memory as a whole.
  - The model folder has to be whole (configuration, tokenizer, every file of weights that its index
    names, no Git LFS pointers). The data has to be readable parquet with the columns and nested
    fields that the trainers will read by their options, without empty prompts.
  - The trainers' options are put together by hydra from verl's own configuration. Slurm requests
    are compared with the partitions and nodes that the cluster has.
  - Must run with the training environment's Python (C(ansible_python_interpreter)), which has
    pyarrow, hydra and verl.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
extends_documentation_fragment: mnrun.train.read_only
options:
  model:
    description: Model folder in the Hugging Face form. Empty for none.
    type: str
    default: ""
  other_models:
    description: More model folders to check, such as one that PPO starts from. Empty ones do not
      count.
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
      - Trainers whose options to check. Which files and columns they read follows from these.
    type: list
    elements: dict
    default: []
    suboptions:
      stage:
        description: Name of the stage, for messages.
        type: str
        required: true
      config_name:
        description: Name of the trainer's hydra configuration, such as V(ppo_trainer).
        type: str
        required: true
      overrides:
        description: The trainer's options as hydra overrides.
        type: list
        elements: str
        default: []
      refused:
        description: Options that a user gave and may not, each with what to use instead.
        type: dict
        default: {}
      keep:
        description: >-
          Which checkpoints stay (C(newest), C(best), C(every)), in place of the trainer's own
          option. Empty for that one.
        type: dict
        default: {}
  slurm:
    description: Requests to Slurm to check.
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
"""

EXAMPLES = r"""
- name: Check everything before the training
  mnrun.train.preflight:
    model: ~/model/Llama-3.2-1B-Instruct
    train_files: [~/data/gsm8k/train.parquet]
    trainers:
      - stage: ppo
        config_name: ppo_trainer
        overrides: [data.train_batch_size=256, trainer.nnodes=2]
    slurm:
      - stage: ray
        options: {partition: team-a, nodes: 2, gpus-per-node: 8}
  vars:
    ansible_python_interpreter: "{{ environment_result.python }}"
"""

RETURN = r"""
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
  description: What was found whole, in a few lines for people.
  type: list
  elements: str
  returned: success
  sample:
    - >-
      Checked: the model ~/model/toy (1,062,656 weights), 2,048 rows to train on (1 file).
checkpoints:
  description:
    - For each stage of O(trainers), what one of its checkpoints will take (C(step_bytes), about; 0
      if that cannot be told) and how many will lie there at the most (C(kept)).
  type: dict
  returned: success
  sample: {sft: {step_bytes: 19774000000, kept: 3}}
identities:
  description:
    - Hashes that follow from the content of C(model), C(train_files), C(test_files) and, if there
      are any, C(other_models). They go into the specs of the stages that use them.
  type: dict
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.module_exit import with_edge
from ..module_utils.base.process import run
from ..module_utils.preflight.check import Report, check

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
            "config_name": {"type": "str", "required": True},
            "overrides": _TEXTS,
            "refused": {"type": "dict", "default": {}},
            "keep": {"type": "dict", "default": {}},
        },
    },
    "slurm": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"stage": _STAGE, "options": {"type": "dict", "required": True}},
    },
}


def message(faults: list[str]) -> str:
    lines = [f"  {number}. {fault}" for number, fault in enumerate(faults, 1)]
    count = f"{len(faults)} faults were" if len(faults) > 1 else "One fault was"
    return "\n".join([f"{count} found before anything was submitted:", *lines])


def answer(report: Report) -> dict[str, Any]:
    found = {"faults": report.faults, "rows": report.rows, "warnings": report.warnings}
    if report.faults:
        return {"failed": True, "msg": message(report.faults), **found}
    return {
        "changed": False,
        "identities": report.identities,
        "checkpoints": report.checkpoints,
        "checked": report.checked,
        **found,
    }


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    with_edge(module, lambda: answer(check(module.params, run)))


if __name__ == "__main__":
    main()
