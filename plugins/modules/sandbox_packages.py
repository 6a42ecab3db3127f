#!/usr/bin/python
# Copyright: contributors to mnrun
# Apache License 2.0 (see LICENSE)

from __future__ import annotations

DOCUMENTATION = r"""
module: sandbox_packages
short_description: Install the Debian packages that the sandbox is made of
description:
  - Installs those packages that are missing, and does not run C(apt-get) when none is.
  - The daemons in them are neither started nor enabled on this machine.
options:
  names:
    description: The packages.
    type: list
    elements: str
    required: true
attributes:
  check_mode:
    description: Can run in check_mode and say what it would install.
    support: full
  diff_mode:
    description: Returns the missing packages before and after.
    support: full
requirements: [root, Debian 12]
author: mnrun
"""

EXAMPLES = r"""
- name: Install what the cluster is made of
  mnrun.train.sandbox_packages:
    names: [slurmctld, slurmd, munge]
"""

RETURN = r"""
installed:
  description: The packages that were missing.
  type: list
  elements: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.errors import MnrunError
from ..module_utils.sandbox import packages, run


def main() -> None:
    names = {"type": "list", "elements": "str", "required": True}
    module = AnsibleModule({"names": names}, supports_check_mode=True)
    try:
        missing = packages.missing(module.params["names"])
        if missing and not module.check_mode:
            run.need_root()
            packages.install(missing)
    except MnrunError as error:
        module.fail_json(msg=error.message, **error.details)
    before = "".join(f"{name} missing\n" for name in missing)
    diff = {"before": before, "after": ""}
    module.exit_json(changed=bool(missing), installed=missing, diff=diff)


if __name__ == "__main__":
    main()
