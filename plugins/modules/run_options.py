#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: run_options
short_description: Read or write the options that are kept with a run
description:
  - The file C(options.yml) in the run's folder. M(mnrun.train.validate) reads it for the plays that
    train, and checks what it contains.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
attributes:
  check_mode:
    support: full
    description: Nothing is written.
  diff_mode:
    support: full
    description: Shows the lines that change.
  idempotent:
    support: full
    description: A file that has this text already is not written.
options:
  run_dir:
    description: The run's folder, on the shared file system.
    type: str
    required: true
  text:
    description: What the file is to contain. Without it, the file is only read.
    type: str
seealso:
  - module: mnrun.train.validate
"""

EXAMPLES = r"""
- name: Keep an option with the run
  mnrun.train.run_options:
    run_dir: ~/training/multinode
    text: |
      sft:
        optim.lr: 2.0e-05
"""

RETURN = r"""
path:
  description: Where the file is.
  type: str
  returned: success
text:
  description: What it contained; empty if there is no such file.
  type: str
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.files import expand, make_directory, write_atomic
from ..module_utils.base.module_exit import with_edge
from ..module_utils.base.presence import read_text


def keep(run_dir: str, text: str | None, check: bool) -> dict[str, Any]:
    path = expand(run_dir) / "options.yml"
    before = read_text(path) or ""
    changed = text is not None and text != before
    if changed and not check:
        make_directory(path.parent)
        write_atomic(path, text or "")
    result: dict[str, Any] = {"changed": changed, "path": str(path), "text": before}
    if changed:
        result["diff"] = {
            "before": before, "after": text,
            "before_header": str(path), "after_header": str(path),
        }  # fmt: skip
    return result


def main() -> None:
    options = {"run_dir": {"type": "str", "required": True}, "text": {"type": "str"}}
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    with_edge(module, lambda: keep(**module.params, check=module.check_mode))


if __name__ == "__main__":
    main()
