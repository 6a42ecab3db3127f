"""The folders on the cluster that modules need to know."""

from __future__ import annotations


class ModuleDocFragment:
    """Merged into a module's documentation by `extends_documentation_fragment`."""

    # One run.
    DOCUMENTATION = r"""
options:
  run_dir:
    description: >-
      The run folder on the cluster's shared file system, absolute or starting with C(~).
    type: str
    required: true
"""

    # All runs of a site.
    SITE = r"""
options:
  base_dir:
    description: The folder of the site's runs, absolute or starting with C(~).
    type: str
    required: true
"""
