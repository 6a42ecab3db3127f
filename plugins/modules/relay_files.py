#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: relay_files
short_description: What a relay runs, on the shared file system
description:
  - Brings mnrun with the Python packages that it runs on, as they are installed on the controller,
    and what was typed with the site. Each becomes a folder that is named by its content, written
    once, and whole or not there.
  - The installation gets an environment of its own from a Python of the cluster. No network is
    needed.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
attributes:
  check_mode:
    support: full
    description: Tells what would be brought.
options:
  run_dir:
    description: The run folder, on the shared file system.
    type: str
    required: true
  run_dir_shared:
    description: The run folder may belong to another user, or be writable by others.
    type: bool
    default: false
  installations:
    description: The folder of installations, on the shared file system. All runs may use it.
    type: str
    required: true
  pythons:
    description: Pythons to try first, before C(python3) and its versions on PATH.
    type: list
    elements: str
    default: []
  words:
    description: What was typed, as the command line encodes it. The action plugin reads it.
    type: str
    default: ""
  name:
    description: Name of a folder; set by the action plugin.
    type: str
    default: ""
  digest:
    description: SHA-256 of the archive; set by the action plugin.
    type: str
    default: ""
  archive:
    description: The archive on this host; set by the action plugin.
    type: str
    default: ""
  minor:
    description: >-
      The oldest Python 3.N of an installation, V(0) for another folder; set by the action plugin.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Bring what the relay runs
  mnrun.train.relay_files:
    run_dir: ~/training/multinode
    installations: ~/training/multinode/.mnrun-installed
    words: "{{ mnrun_handover }}"
"""

RETURN = r"""
python:
  description: The Python of the installation.
  type: str
  returned: success
handover:
  description: The folder with what was typed and the site.
  type: str
  returned: success
version:
  description: Name of the installation.
  type: str
  returned: success
shown:
  description: What was typed (C(command)), and what shows, follows and stops it.
  type: dict
  returned: success
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.files import expand
from ..module_utils.base.module_exit import with_edge
from ..module_utils.base.private import claim_private
from ..module_utils.base.process import run
from ..module_utils.base.safe_name import check_name
from ..module_utils.handover.python import Installation, make_environment
from ..module_utils.handover.unpack import is_whole, unpack


def bring(given: dict[str, Any], check: bool) -> dict[str, Any]:
    installs = given["minor"] > 0
    place = given["installations"] if installs else f"{given['run_dir']}/.mnrun/relay/handover"
    folder = expand(place) / check_name("name", given["name"])
    if not given["run_dir_shared"]:
        claim_private(expand(given["run_dir"]), ".mnrun", ".mnrun/relay", write=not check)
        if installs:
            claim_private(folder.parent, write=not check)
    found = {"path": str(folder), "missing": not is_whole(folder), "changed": False}
    if not found["missing"] or not given["archive"]:
        return {**found, "changed": check and found["missing"]}
    wanted = Installation(folder, [_path(name) for name in given["pythons"]], given["minor"])

    def prepare(new: Path) -> None:
        if installs:
            make_environment(new, wanted, run)

    unpack(Path(given["archive"]), given["digest"], folder, prepare)
    return {**found, "missing": False, "changed": True}


def _path(name: str) -> str:
    return str(expand(name)) if name.startswith("~") else name


def main() -> None:
    options = {
        "run_dir": {"type": "str", "required": True},
        "run_dir_shared": {"type": "bool", "default": False},
        "installations": {"type": "str", "required": True},
        "pythons": {"type": "list", "elements": "str", "default": []},
        "words": {"type": "str", "default": ""},
        "name": {"type": "str", "default": ""},
        "digest": {"type": "str", "default": ""},
        "archive": {"type": "str", "default": ""},
        "minor": {"type": "int", "default": 0},
    }
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    with_edge(module, lambda: bring(module.params, module.check_mode))


if __name__ == "__main__":
    main()
