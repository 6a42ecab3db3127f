"""The folders on the cluster that modules are told."""

from __future__ import annotations


class ModuleDocFragment:
    """Merged into a module's documentation by `extends_documentation_fragment`."""

    # One run.
    DOCUMENTATION = r"""
options:
  run_dir:
    description: >-
      The run's folder on the cluster's shared file system, absolute or with C(~) in front.
    type: str
    required: true
"""

    # All runs of a site.
    SITE = r"""
options:
  base_dir:
    description: The site's working folder, absolute or with C(~) in front.
    type: str
    required: true
"""
