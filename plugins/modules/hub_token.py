#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: hub_token
short_description: Keep the Hugging Face Hub's token in a file that only its owner can read
description:
  - Programs on the cluster read the token from there when they run. It never appears in a script.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
attributes:
  check_mode:
    support: full
    description: Reports whether the file would change. Writes nothing.
  diff_mode:
    support: none
    description: A token is not shown.
options:
  path:
    description: Path of the file, with mode 600. Missing folders are created.
    type: path
    required: true
  token:
    description: The token.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Keep the token of my own HF_TOKEN beside the run
  mnrun.train.hub_token:
    path: ~/training/multinode/.mnrun/hub_token
    token: "{{ lookup('ansible.builtin.env', 'HF_TOKEN') }}"
"""

RETURN = r"""
path:
  description: The file's absolute path.
  type: str
  returned: success
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.files import expand, make_directory
from ..module_utils.base.module_exit import with_edge
from ..module_utils.base.presence import read_text
from ..module_utils.environment.trial import store_secret

SPEC = {
    "path": {"type": "path", "required": True},
    "token": {"type": "str", "required": True, "no_log": True},
}


def keep(path: Path, token: str, check: bool) -> dict[str, Any]:
    changed = read_text(path) != token
    if changed and not check:
        make_directory(path.parent)
        store_secret(path, token)
    return {"changed": changed, "path": str(path)}


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    given = module.params
    with_edge(
        module, lambda: keep(expand(given["path"]), given["token"].strip(), module.check_mode)
    )


if __name__ == "__main__":
    main()
