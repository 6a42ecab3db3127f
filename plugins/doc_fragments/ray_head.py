"""The head of a Ray cluster, as modules take it."""

from __future__ import annotations


class ModuleDocFragment:
    """Merged into a module's documentation by `extends_documentation_fragment`."""

    DOCUMENTATION = r"""
options:
  head:
    description:
      - The head of the Ray cluster, as RV(mnrun.train.ray_cluster_info#module:head).
    type: dict
    suboptions:
      host:
        description: Slurm's name of the head's node.
        type: str
        required: true
      ip:
        description: IPv4 address at which the other nodes reach the head.
        type: str
        required: true
      gcs_port:
        description: Port of Ray's GCS.
        type: int
        required: true
      dashboard_port:
        description: Port of the dashboard and the job API, on the loopback of the head's node.
        type: int
        required: true
      job_id:
        description: Id of the Slurm job that the cluster lives in.
        type: str
        required: true
      token_file:
        description: File of mode 600 that holds the cluster's token. Only its path is passed on.
        type: path
        required: true
"""
