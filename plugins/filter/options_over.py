"""The filter by which options of a run or a command replace those of the site."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..plugin_utils.kept_options import options_over

DOCUMENTATION = r"""
name: options_over
short_description: Options of a trainer, of which later ones replace earlier ones
description:
  - Like P(ansible.builtin.combine#filter), but an option is the same whatever sign (C(+), C(++),
    C(~)) is in front of its name. One that is new to the trainer (C(+)) stays so with its
    later value.
author: The mnrun authors (@mnrun)
positional: later
options:
  _input:
    description: Options by their names.
    type: dict
    required: true
  later:
    description: More of them; the last one wins.
    type: list
    elements: dict
"""

EXAMPLES = r"""
- name: The options of this command
  ansible.builtin.debug:
    msg: "{{ {'+a': 1, 'b': 2} | mnrun.train.options_over({'a': 3}, {'~b': None}) }}"
  # {"+a": 3, "~b": null}
"""

RETURN = r"""
_value:
  description: All options.
  type: dict
"""


class FilterModule:
    """The filter as Ansible finds it."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by their names."""
        return {"options_over": options_over}
