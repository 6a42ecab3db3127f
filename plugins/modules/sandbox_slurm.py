#!/usr/bin/python
# Copyright: contributors to mnrun
# Apache License 2.0 (see LICENSE)

from __future__ import annotations

DOCUMENTATION = r"""
module: sandbox_slurm
short_description: Choose the version of Slurm that the sandbox runs
description:
  - Fetches a newer Slurm than this machine's own from another suite of Debian, with all libraries
    that it needs, into a folder of its own below C(/var/cache/mnrun/slurm). Nothing is installed.
  - The packages come from the mirror in this machine's own apt sources, and their signatures are
    checked with the keys in C(debian-archive-keyring).
  - A version that was fetched stays for all sandboxes of this machine; the network is not needed
    again for it.
options:
  version:
    description:
      - V(26.05), or all of it, V(26.05.5); V(host) for this machine's own; V(newest), or the newest
        that is there already, with a warning, if that cannot be fetched.
      - By default the one that runs now; when the sandbox is down, V(newest).
    type: str
    default: ""
  directory:
    description: Where the sandbox keeps its files.
    type: path
    default: /var/lib/mnrun-sandbox
attributes:
  check_mode:
    description: Can run in check_mode and say whether it would fetch one.
    support: full
  diff_mode:
    description: Returns the versions that are kept before and after.
    support: full
requirements: [root, Debian 12 or later for another version than this machine's own]
author: The mnrun authors
version_added: 0.1.0
"""

EXAMPLES = r"""
- name: Fetch Slurm 24.11
  mnrun.train.sandbox_slurm:
    version: "24.11"
"""

RETURN = r"""
version:
  description: The version, to be given to M(mnrun.train.sandbox); empty for this machine's own.
  type: str
  returned: success
  sample: 26.05.5
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.clock import Clock
from ..module_utils.base.module_exit import with_edge
from ..module_utils.sandbox import run

ARGUMENTS = {
    "version": {"type": "str", "default": ""},
    "directory": {"type": "path", "default": "/var/lib/mnrun-sandbox"},
}


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    with_edge(module, lambda: run.choose_slurm(module.params, module.check_mode, Clock()))


if __name__ == "__main__":
    main()
