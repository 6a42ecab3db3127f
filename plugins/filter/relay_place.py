"""The filter that chooses where a run is handed over to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..plugin_utils.relay_turns import place

DOCUMENTATION = r"""
name: relay_place
short_description: Choose the stage of the relay to which a run is handed over
description:
  - A run has three stages for relays, which take turns. If one is alive, its stage is the place.
author: The mnrun authors
version_added: 0.1.0
positional: login
options:
  _input:
    description: The result of M(mnrun.train.slurm_job_info).
    type: dict
    required: true
  login:
    description: The relay is to be a process on the login node.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Where to
  ansible.builtin.debug:
    msg: "{{ found | mnrun.train.relay_place }}"
  # {"stage": "relay", "void": []}
"""

RETURN = r"""
_value:
  description: >-
    C(stage), and C(void), the stages whose job only waits for a relay that left nothing to do.
  type: dict
"""


def relay_place(found: Mapping[str, Any], login: bool = False) -> dict[str, Any]:
    """Give the place."""
    return place(found["stages"], login)._asdict()


class FilterModule:
    """The filter as Ansible finds it."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by their names."""
        return {"relay_place": relay_place}
