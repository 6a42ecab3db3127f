"""The lookup that gives a trainer profile."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ..plugin_utils.profiles import ProfileError, needs, places, profile

DOCUMENTATION = r"""
name: trainer
short_description: A trainer profile
description:
  - Gives the profile of a trainer with all that it stands on, from the folder C(trainers) beside
    the inventory's C(group_vars), or from those that come with the collection.
  - Fails with every fault of the file, each with its line.
author: The mnrun authors
version_added: 0.1.0
options:
  _terms:
    description: The profile's name. Empty for the default one.
    type: list
    elements: str
    required: true
  needs:
    description: Give instead what each profile needs, by its name.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show how SFT is started
  ansible.builtin.debug:
    msg: "{{ lookup('mnrun.train.trainer', 'torchrun').sft.launcher }}"
"""

RETURN = r"""
_raw:
  description: The profile, as profiles/schema.json describes it, and its C(name).
  type: list
  elements: dict
"""


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(self, terms: list[Any], variables: Any = None, **kwargs: Any) -> list[dict[str, Any]]:
        """Give one mapping, so that `lookup` returns it as it is."""
        folders = places(str((variables or {}).get("inventory_dir") or ""))
        try:
            if kwargs.get("needs"):
                return [needs(folders)]
            return [profile(str(term or ""), folders) for term in terms]
        except ProfileError as error:
            raise AnsibleLookupError(str(error)) from None
