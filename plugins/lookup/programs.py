"""The lookup that gives the texts of programs which jobs carry."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ..plugin_utils.programs import UnknownProgramError, texts

DOCUMENTATION = r"""
name: programs
short_description: Texts of the programs that jobs carry
description:
  - Returns programs of this collection by name, wherever they are in it, for the option
    C(files) of M(mnrun.train.slurm_job), M(mnrun.train.ray_job) and M(mnrun.train.hub_transfer).
author: The mnrun authors
version_added: 0.1.0
options:
  _terms:
    description: >-
      Names, such as V(keep.py), or shell patterns, such as V(cluster*.py). Each must match a
      program.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Convert
  mnrun.train.slurm_job:
    run_dir: ~/training/multinode
    stage: convert-sft
    name: convert
    script: python -B "$MNRUN_RECORD/convert.py"
    files: "{{ lookup('mnrun.train.programs', 'convert*.py', 'manifest.py', 'inside.py') }}"
"""

RETURN = r"""
_raw:
  description: One mapping with the text of each program by its name.
  type: list
  elements: dict
"""


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(
        self,
        terms: list[Any],
        variables: Any = None,  # noqa: ARG002 - Ansible gives both
        **kwargs: Any,  # noqa: ARG002
    ) -> list[dict[str, str]]:
        """Give one mapping, so that `lookup` returns it as it is."""
        try:
            return [texts([str(term) for term in terms])]
        except UnknownProgramError as error:
            raise AnsibleLookupError(str(error)) from None
