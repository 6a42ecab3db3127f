#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: hub_token_info
short_description: Check whether there will be a token for the Hugging Face Hub
description:
  - Asked before a training whose model is to be published, so that a token that is missing does not
    show days later.
  - A token is neither returned nor tried.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
extends_documentation_fragment: mnrun.train.read_only
options:
  files:
    description: Possible paths of a token on this machine. The first that exists is used.
    type: list
    elements: str
    required: true
  given:
    description: There is a token elsewhere, which is used if none of O(files) exists.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Have a token for the Hub
  mnrun.train.hub_token_info:
    files: [~/.config/huggingface/token, ~/.cache/huggingface/token]
"""

RETURN = r"""
path:
  description: The file with the token; empty if it comes from elsewhere.
  type: str
  returned: success
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.errors import Invalid
from ..module_utils.base.files import expand
from ..module_utils.base.module_exit import with_edge

SPEC = {
    "files": {"type": "list", "elements": "str", "required": True},
    "given": {"type": "bool", "default": False},
}


def find(files: list[Path], given: bool) -> str:
    """The file of the token, found in the same way as the programs that use it. Raises Invalid."""
    for path in files:
        if not path.exists():
            continue
        if path.stat().st_mode & 0o077:
            raise Invalid(
                f"Others can read the Hub's token in {path}, so nothing was started. Run: chmod "
                f"600 {path}"
            )
        if not path.read_text(encoding="utf-8").split():
            raise Invalid(f"There is no token in {path}, so nothing was started. Put it there.")
        return str(path)
    if given:
        return ""
    looked = ", ".join(map(str, files))
    raise Invalid(
        "The model is to be published on the Hugging Face Hub, but there is no token, so nothing "
        f"was started. Set HF_TOKEN, or put a token in a file of mode 600 (looked for: {looked})."
    )


def look(names: list[str], given: bool) -> dict[str, Any]:
    return {"changed": False, "path": find([expand(name) for name in names], given)}


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    with_edge(module, lambda: look(module.params["files"], module.params["given"]))


if __name__ == "__main__":
    main()
