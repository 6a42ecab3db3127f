#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: site_info
short_description: What a login node shows of its cluster
description:
  - Returns Slurm's partitions, limits and accounts, the modules, conda, Python environments with
    a trainer, folders for runs, models and data, and ways out of the cluster. C(mnrun init) writes
    an inventory from it.
  - Each look is bounded in time. What gave no answer is null, and never taken for absent.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
extends_documentation_fragment: mnrun.train.read_only
options:
  packages:
    description: Python packages whose versions to look for in environments.
    type: list
    elements: str
    default: []
seealso:
  - module: mnrun.train.site_node_info
"""

EXAMPLES = r"""
- name: Look at the cluster
  mnrun.train.site_info:
    packages: [torch, ray]
  register: site
"""

RETURN = r"""
host:
  description: The login node's name.
  type: str
  returned: success
user:
  description: Who looked.
  type: str
  returned: success
home:
  description: The home folder.
  type: str
  returned: success
shell:
  description: The login shell.
  type: str
  returned: success
slurm:
  description: >-
    The C(version), the C(cluster), whether there is C(accounting), what it has C(enforced), the
    C(accounts) of the user, the C(partitions) with their limits (in seconds) and the kinds of their
    nodes, which of those are C(accepted) for a request of one GPU, whether Slurm gave no answer
    at all (C(lost)), and what is C(unknown).
  type: dict
  returned: success
modules:
  description: The file that defines C(module) (C(init)), its C(kind), and the C(names) of all.
  type: dict
  returned: success
conda:
  description: Installations of conda, each with its C(hook) and C(where) it was found.
  type: list
  elements: dict
  returned: success
environments:
  description: Python environments, each with its C(prefix), its C(packages), and C(conda).
  type: list
  elements: dict
  returned: success
folders:
  description: >-
    Folders that the user can write to, each with its C(path), C(why) it is named, the C(kind) of
    its file system, whether that is C(shared), C(free) bytes and the C(quota) left.
  type: list
  elements: dict
  returned: success
models:
  description: Folders with a model in Hugging Face format.
  type: list
  elements: str
  returned: success
tables:
  description: Parquet files, each C(train) with a C(test) beside it.
  type: list
  elements: dict
  returned: success
hub:
  description: Whether the Hugging Face Hub can be reached from this host.
  type: bool
  returned: success
wandb_key:
  description: The file with the user's key for W&B; empty without one.
  type: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.clock import Clock
from ..module_utils.base.module_exit import with_edge
from ..module_utils.base.process import run
from ..module_utils.site.login import look
from ..module_utils.slurm.client import SlurmClient


def main() -> None:
    options = {"packages": {"type": "list", "elements": "str", "default": []}}
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    client = SlurmClient(run, Clock())
    with_edge(module, lambda: {"changed": False, **look(client, run, module.params["packages"])})


if __name__ == "__main__":
    main()
