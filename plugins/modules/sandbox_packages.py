#!/usr/bin/python
# Copyright: contributors to mnrun
# Apache License 2.0 (see LICENSE)

from __future__ import annotations

DOCUMENTATION = r"""
module: sandbox_packages
short_description: Install the Debian packages that the sandbox is made of
description:
  - Installs those packages that are missing, and does not run C(apt-get) when none is.
  - On a machine that cannot have them all it changes nothing, and names everything that is missing.
  - The daemons in them are neither started nor enabled on this machine.
options:
  names:
    description: The packages.
    type: list
    elements: str
    required: true
  pythons:
    description:
      - The versions of Python that the sandbox can use, such as V(3.13).
      - Without any, all will do.
    type: list
    elements: str
    default: []
  folder:
    description:
      - Take the packages from this folder of C(.deb) files only, and from no other source.
    type: path
attributes:
  check_mode:
    description: Can run in check_mode and say what it would install.
    support: full
  diff_mode:
    description: Returns the missing packages before and after.
    support: full
requirements: [root, Debian 12 or 13 or Ubuntu 24.04]
author: The mnrun authors (@mnrun)
version_added: 0.1.0
"""

EXAMPLES = r"""
- name: Install what the cluster is made of
  mnrun.train.sandbox_packages:
    names: [slurmctld, slurmd, munge]
    pythons: ["3.11", "3.13"]
"""

RETURN = r"""
installed:
  description: The packages that were missing.
  type: list
  elements: str
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.module_exit import with_edge
from ..module_utils.sandbox import host, packages, run


def install(
    names: list[str], pythons: list[str], check: bool, folder: str | None = None
) -> dict[str, Any]:
    lacks = host.lacks(pythons)
    missing = packages.missing(names)
    if missing and not check:
        run.need_root()
        with packages.source(folder) as apt:
            lacks += packages.unavailable(missing, apt)
            if not lacks:
                packages.install(missing, apt)
    if lacks:
        raise host.refuse(lacks)
    before = "".join(f"{name} missing\n" for name in missing)
    return {
        "changed": bool(missing),
        "installed": missing,
        "diff": {"before": before, "after": ""},
    }


def main() -> None:
    spec = {
        "names": {"type": "list", "elements": "str", "required": True},
        "pythons": {"type": "list", "elements": "str", "default": []},
        "folder": {"type": "path"},
    }
    module = AnsibleModule(spec, supports_check_mode=True)
    with_edge(module, lambda: install(**module.params, check=module.check_mode))


if __name__ == "__main__":
    main()
