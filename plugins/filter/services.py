"""The filters that give what a job gets of a run's services."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..plugin_utils.services import planned, share

DOCUMENTATION = r"""
name: services
short_description: The services beside a training
description:
  - Puts together the services of a site and those of a trainer's profile.
author: The mnrun authors (@mnrun)
version_added: 0.2.0
positional: stage, profile, nodes
options:
  _input:
    description: The site's services, as C(mnrun_services) has them.
    type: list
    elements: dict
    required: true
  stage:
    description: V(sft) or V(ppo).
    type: str
    required: true
  profile:
    description: Those of the trainer's profile. A site's service of the same name adds to one.
    type: list
    elements: dict
    default: []
  nodes:
    description: How many nodes the job has. V(0) if only the share is asked for.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Show how many GPUs of each node services take
  ansible.builtin.debug:
    msg: "{{ (mnrun_services | mnrun.train.services('ppo')).gpus }}"
"""

RETURN = r"""
_value:
  description: >-
    C(plan), what the program in the job gets of each; C(decisive), what of them determines the
    result; C(gpus) and C(cpus), what they take on each node.
  type: dict
"""


def services(
    site: Sequence[Mapping[str, Any]],
    stage: str,
    profile: Sequence[Mapping[str, Any]] = (),
    nodes: int = 0,
) -> Mapping[str, Any]:
    """Give what a job gets of its services; without nodes, only their share."""
    return planned(stage, site, profile, nodes) if nodes else share(stage, site)


class FilterModule:
    """The filter as Ansible finds it."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by their names."""
        return {"services": services}
