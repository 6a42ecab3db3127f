"""The filter that lays the options of sbatch over each other: the job's, the site's, the user's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: sbatch_options
short_description: Merge the options of sbatch
description:
  - Returns the options of one job. The role's options come first, then the site's for every job,
    then the user's for this job; later values override earlier ones.
  - The modules that take the options check them.
author: The mnrun authors
positional: partition, site, own
options:
  _input:
    description: The role's options, by the long names of sbatch.
    type: dict
    required: true
  partition:
    description: The site's partition. Empty for the cluster's default one.
    type: str
    required: true
  site:
    description: Options for every job of the site.
    type: dict
    required: true
  own:
    description: Options for this job.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: The options of a job
  ansible.builtin.debug:
    msg: "{{ {'nodes': 1} | mnrun.train.sbatch_options('gpu', {'account': 'team'}, {'nodes': 2}) }}"
  # {"partition": "gpu", "nodes": 2, "account": "team"}
"""

RETURN = r"""
_value:
  description: All options of the job.
  type: dict
"""


def sbatch_options(role: Any, partition: Any, site: Any, own: Any) -> dict[str, Any]:
    """Give the options of one job; AnsibleFilterError for what is not a mapping."""
    options = {"partition": partition}
    for given in (role, site, own):
        if not isinstance(given, Mapping):
            raise AnsibleFilterError(
                f"Options of sbatch are a mapping, one line `option: value` for each, not {given!r}"
            )
        options.update(given)
    return options


class FilterModule:
    """The filter as Ansible finds it."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by their names."""
        return {"sbatch_options": sbatch_options}
