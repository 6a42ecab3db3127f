"""The filter that turns a mapping of trainer options into hydra's override strings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..plugin_utils.hydra import hydra_overrides

DOCUMENTATION = r"""
name: hydra_overrides
short_description: Turn a mapping of trainer options into hydra override strings
description:
  - Returns one string C(option=value) for each entry, in order, quoted by the rules of hydra's own
    grammar, so that a value arrives in the trainer exactly as it is written in the inventory.
  - Text that YAML leaves as text but that is a number in scientific form (C(1e-6)) is passed as a
    number. All other text stays text, also C("true") and C("12").
  - C(${...}) is passed on, because it is how one option of the trainer refers to another.
author: The mnrun authors (@mnrun)
options:
  _input:
    description:
      - Options by their dotted name. A name may begin with C(+) (a new option), C(++) (new or
        existing) or C(~) (removed; the whole option if there is no value).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: The arguments of a trainer
  ansible.builtin.debug:
    msg: "{{ {'optim.lr': 1e-6, 'trainer.logger': ['console']} | mnrun.train.hydra_overrides }}"
  # ["optim.lr=1e-06", "trainer.logger=[console]"]
"""

RETURN = r"""
_value:
  description: One override for each entry of the mapping, not yet quoted for a shell.
  type: list
  elements: str
"""


class FilterModule:
    """The filter as Ansible finds it."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by their names."""
        return {"hydra_overrides": hydra_overrides}
