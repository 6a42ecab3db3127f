"""Options that slurm_job_info and ray_job_info share."""

from __future__ import annotations


class ModuleDocFragment:
    """Merged into a module's documentation by `extends_documentation_fragment`."""

    DOCUMENTATION = r"""
options:
  stage:
    description: Tell of this stage only. Empty for all that have a record.
    type: str
    default: ""
  fingerprint:
    description: >-
      Tell of the spec with this fingerprint (its beginning suffices). Empty for the one that was
      worked on last.
    type: str
    default: ""
  wait:
    description: Answer when there is something else to tell than what was O(since).
    type: bool
    default: false
  since:
    description: C(digest) of the last answer. Empty to be answered at once.
    type: str
    default: ""
  wait_timeout:
    description: Seconds after which to answer even if nothing is new.
    type: int
    default: 30
  min_interval:
    description: Seconds during which a new training step alone is no reason to answer.
    type: float
    default: 0.0
  log_lines:
    description: So many last lines of each log are returned. V(0) for none.
    type: int
    default: 0
  log_offset:
    description: C(log.offset) of the last answer, to get only what is new in each log.
    type: dict
    default: {}
"""
