#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: run_options_info
short_description: The options that are kept with a run
description:
  - Returns the text of the file C(options.yml) in a run's folder. M(mnrun.train.validate) calls it
    for the plays that train, and checks what it contains. Changes nothing.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
extends_documentation_fragment: mnrun.train.read_only
options:
  run_dir:
    description: The run's folder, on the shared file system.
    type: str
    required: true
seealso:
  - module: mnrun.train.validate
"""

EXAMPLES = r"""
- name: Read the options of a run
  mnrun.train.run_options_info:
    run_dir: ~/training/multinode
"""

RETURN = r"""
path:
  description: Where the file is.
  type: str
  returned: success
text:
  description: What it contains; empty if there is no such file.
  type: str
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.files import expand
from ..module_utils.base.module_exit import with_edge
from ..module_utils.record.run_options import path_of, read


def look(run_dir: str) -> dict[str, Any]:
    folder = expand(run_dir)
    return {"changed": False, "path": str(path_of(folder)), "text": read(folder)}


def main() -> None:
    options = {"run_dir": {"type": "str", "required": True}}
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    with_edge(module, lambda: look(**module.params))


if __name__ == "__main__":
    main()
