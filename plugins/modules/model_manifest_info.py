#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: model_manifest_info
short_description: The manifest of a converted model, and whether the model is complete
description:
  - Reads C(mnrun_manifest.json), and compares the folder with it. Changes nothing.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
extends_documentation_fragment: mnrun.train.read_only
options:
  path:
    description: The folder of the converted model.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Read what PPO's model is made of
  mnrun.train.model_manifest_info:
    path: ~/training/multinode/ppo/model
  register: model
"""

RETURN = r"""
path:
  description: The folder's absolute path.
  type: str
  returned: success
manifest:
  description: The manifest. Empty if there is none.
  type: dict
  returned: success
identity:
  description: SHA-256 of the manifest, which depends on the whole model. Empty if there is none.
  type: str
  returned: success
faults:
  description: Why the folder is not the model that its manifest describes.
  type: list
  elements: str
  returned: success
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.errors import Refused
from ..module_utils.base.files import expand
from ..module_utils.base.module_exit import with_edge
from ..module_utils.model import manifest

SPEC = {"path": {"type": "path", "required": True}}


def look(folder: Path) -> dict[str, Any]:
    try:
        found = manifest.read(folder)
    except manifest.NewerError as error:
        raise Refused(str(error)) from error
    return {
        "changed": False,
        "path": str(folder),
        "manifest": found or {},
        "identity": manifest.sha256(folder / manifest.NAME) if found else "",
        "faults": manifest.faults(folder),
    }


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    with_edge(module, lambda: look(expand(module.params["path"])))


if __name__ == "__main__":
    main()
