#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: data_table
short_description: A parquet file in the trainers' form, made of JSON lines and parquet files
description:
  - Converts the usual forms of training data (prompt and response, messages, Alpaca) into one
    parquet file that SFT and PPO read. Several files and folders of shards become one file.
  - The file keeps the hashes of what it was made of. If they have not changed, nothing is done; a
    file that was not made by this module is never replaced.
  - The file is written whole or not at all, and read again before it gets its name.
  - Must run with the training environment's Python (C(ansible_python_interpreter)), which has
    pyarrow.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
attributes:
  check_mode:
    support: full
    description: Reads and checks all rows, and writes nothing.
  diff_mode:
    support: full
    description: Shows what the file was made of, and what it will be made of.
options:
  target:
    description: The parquet file.
    type: str
    required: true
  sources:
    description: >-
      Files (C(.jsonl), C(.ndjson), C(.parquet)), or folders of them, in the order of the rows.
    type: list
    elements: str
    required: true
  form:
    description: >-
      The form of the rows, V(prompt_response), V(messages) or V(alpaca). Empty for that of the
      first row.
    type: str
    choices: ["", prompt_response, messages, alpaca]
    default: ""
  data_source:
    description: The name by which PPO's trainer chooses a reward.
    type: str
    default: mine
"""

EXAMPLES = r"""
- name: One file for the trainer, of several sources
  mnrun.train.data_table:
    target: ~/data/mine/train.parquet
    sources: [~/raw/chats.jsonl, ~/raw/shards]
  vars:
    ansible_python_interpreter: "{{ environment_result.python }}"
"""

RETURN = r"""
table:
  description: What the file says of itself, with C(rows), C(form), C(sources) and C(fingerprint).
  type: dict
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.files import expand
from ..module_utils.base.module_exit import with_edge
from ..module_utils.trainer.rows import FORMS
from ..module_utils.trainer.table import Wanted, make


def act(params: dict[str, Any], check: bool) -> dict[str, Any]:
    sources = [expand(source) for source in params["sources"]]
    wanted = Wanted(expand(params["target"]), sources, params["form"], params["data_source"])
    made = make(wanted, check)
    return {
        "changed": made.changed,
        "table": made.after,
        "diff": {"before": made.before, "after": made.after} if made.changed else {},
    }


def main() -> None:
    options = {
        "target": {"type": "str", "required": True},
        "sources": {"type": "list", "elements": "str", "required": True},
        "form": {"type": "str", "choices": ["", *FORMS], "default": ""},
        "data_source": {"type": "str", "default": "mine"},
    }
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    with_edge(module, lambda: act(module.params, module.check_mode))


if __name__ == "__main__":
    main()
