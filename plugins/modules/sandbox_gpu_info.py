#!/usr/bin/python
# Copyright: contributors to mnrun
# Apache License 2.0 (see LICENSE)

from __future__ import annotations

DOCUMENTATION = r"""
module: sandbox_gpu_info
short_description: The GPUs that the sandbox's compute nodes get
description:
  - Looks for this machine's own GPUs and decides whether the nodes share them or get stand-ins.
  - For real GPUs it also looks for a Python whose torch a training environment can use.
options:
  nodes:
    description: Number of compute nodes.
    type: int
    default: 2
  gpus:
    description: Number of GPUs of each node. By default the machine's own are shared out evenly.
    type: int
  simulated:
    description: Whether the nodes get stand-ins even on a machine that has GPUs.
    type: bool
    default: false
  pythons:
    description: The versions of Python that a training environment can have, such as V(3.12).
    type: list
    elements: str
    default: []
extends_documentation_fragment: mnrun.train.read_only
author: The mnrun authors (@mnrun)
version_added: 0.1.0
"""

EXAMPLES = r"""
- name: Look for GPUs
  mnrun.train.sandbox_gpu_info:
    nodes: 2
    pythons: ["3.11", "3.12"]
"""

RETURN = r"""
real:
  description: Whether the nodes get this machine's own GPUs.
  type: bool
  returned: success
gpus:
  description: Number of GPUs of each node.
  type: int
  returned: success
python:
  description: A Python with a torch for GPUs; empty without one, and for stand-ins.
  type: str
  returned: success
  sample: /opt/torch/bin/python3
torch:
  description: The version of that torch.
  type: str
  returned: success
  sample: 2.11.0+cu130
note:
  description: Why the machine's own GPUs are not used, or no torch was found.
  type: str
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.module_exit import with_edge
from ..module_utils.sandbox import gpus, machine_torch

ARGUMENTS = {
    "nodes": {"type": "int", "default": 2},
    "gpus": {"type": "int"},
    "simulated": {"type": "bool", "default": False},
    "pythons": {"type": "list", "elements": "str", "default": []},
}


def info(nodes: int, gpus_: int | None, simulated: bool, pythons: list[str]) -> dict[str, Any]:
    choice = gpus.choose(gpus.numbers(), nodes, gpus_, simulated)
    places = machine_torch.places() if choice.real else ()
    found, faults = machine_torch.find(pythons, places)
    note = choice.note if found else "; ".join([choice.note, *faults]).strip("; ")
    return {
        "changed": False,
        "real": choice.real,
        "gpus": choice.gpus,
        "python": found.python if found else "",
        "torch": found.version if found else "",
        "note": note,
    }


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    given = module.params
    with_edge(
        module,
        lambda: info(given["nodes"], given["gpus"], given["simulated"], given["pythons"]),
    )


if __name__ == "__main__":
    main()
