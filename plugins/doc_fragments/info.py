"""Options that slurm_job_info and ray_job_info share."""

from __future__ import annotations


class ModuleDocFragment:
    """Merged into a module's documentation by `extends_documentation_fragment`."""

    DOCUMENTATION = r"""
options:
  stage:
    description: Return only this stage. Empty for all that have a record.
    type: str
    default: ""
  fingerprint:
    description: >-
      Return the spec with this fingerprint (a prefix suffices). Empty for the one with the newest
      attempt.
    type: str
    default: ""
  wait:
    description: Answer only when something differs from O(since).
    type: bool
    default: false
  since:
    description: C(digest) of the last answer. Empty to get an answer immediately.
    type: str
    default: ""
  wait_timeout:
    description: Seconds after which to answer even if nothing has changed.
    type: int
    default: 30
  min_interval:
    description: Seconds during which a new training step alone does not lead to an answer.
    type: float
    default: 0.0
  log_lines:
    description: The number of last lines to return of each log. V(0) for none.
    type: int
    default: 0
  log_errors:
    description: Return lines of the log of errors alone, where a job has one of its own.
    type: bool
    default: false
  log_attempt:
    description: The number of the attempt whose logs to return. V(0) for the newest one.
    type: int
    default: 0
  log_service:
    description: Return lines of this service beside the training, in place of the training's own.
    type: str
    default: ""
    version_added: 0.2.0
  log_offset:
    description: C(log.offset) of the last answer, to get only the new lines of each log.
    type: dict
    default: {}
  causes:
    description: Of an attempt that has ended, say whether its result is verified, else the cause.
    type: bool
    default: false
  checkpoints:
    description: Where the stage's checkpoints are, to return when the newest one was written.
    type: dict
    suboptions:
      path:
        description: The folder.
        type: str
        required: true
      parts:
        description: Sub-folders that hold parts of each checkpoint.
        type: list
        elements: str
        default: []
"""
