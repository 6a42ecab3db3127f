"""The filter that says how it is with a run's relay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..plugin_utils.relay_turns import lines

DOCUMENTATION = r"""
name: relay_lines
short_description: Show the state of a run's relay
description:
  - One line, about the newest relay of a run that was handed over; none for others.
author: The mnrun authors
version_added: 0.1.0
options:
  _input:
    description: The result of M(mnrun.train.slurm_job_info).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show it
  ansible.builtin.debug:
    msg: "{{ found | mnrun.train.relay_lines }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""


def relay_lines(found: Mapping[str, Any]) -> list[str]:
    """Give the lines."""
    return list(lines(found["stages"]))


class FilterModule:
    """The filter as Ansible finds it."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by their names."""
        return {"relay_lines": relay_lines}
