#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: fetch_info
short_description: What is missing from a model and from data files, before it is fetched
description:
  - Checks whether a model folder is complete, and whether data files are complete parquet files in
    the trainers' format. Changes nothing.
  - Must run with the training environment's Python (C(ansible_python_interpreter)), which has
    pyarrow.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
extends_documentation_fragment: mnrun.train.read_only
options:
  model:
    description: Model folder in Hugging Face format. Empty for none.
    type: str
    default: ""
  files:
    description: Parquet files.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Check what has to be fetched
  mnrun.train.fetch_info:
    model: ~/model/Llama-3.2-1B-Instruct
    files: [~/data/gsm8k/train.parquet]
  vars:
    ansible_python_interpreter: "{{ environment_result.python }}"
"""

RETURN = r"""
model:
  description: Why the folder is not a complete model. Empty if it is one.
  type: list
  elements: str
  returned: success
missing:
  description: Data files that are missing or damaged.
  type: list
  elements: str
  returned: success
raw:
  description: Data files that are a raw GSM8K, with the columns question and answer only.
  type: list
  elements: str
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.files import expand
from ..module_utils.base.module_exit import with_edge
from ..module_utils.model.folder import model_faults
from ..module_utils.trainer.data import check_file, is_raw_gsm8k

SPEC = {
    "model": {"type": "str", "default": ""},
    "files": {"type": "list", "elements": "str", "default": []},
}


def look(model: str, names: list[str]) -> dict[str, Any]:
    files = [expand(name) for name in names]
    missing = [path for path in files if check_file(path, []).faults]
    raw = [path for path in files if path not in missing and is_raw_gsm8k(path)]
    return {
        "changed": False,
        "model": model_faults(expand(model)) if model else [],
        "missing": [str(path) for path in missing],
        "raw": [str(path) for path in raw],
    }


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    with_edge(module, lambda: look(module.params["model"], module.params["files"]))


if __name__ == "__main__":
    main()
