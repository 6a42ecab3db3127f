#!/usr/bin/python
# Copyright: The mnrun authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: ray_cluster_info
short_description: The head of a run's Ray cluster
description:
  - Reads the run's ledger, queries Slurm about the job of the Ray cluster that was started last,
    and returns what that job published when all its nodes were up. Changes nothing.
  - It never returns what an earlier job published.
author: The mnrun authors (@mnrun)
version_added: 0.1.0
extends_documentation_fragment: [mnrun.train.folders, mnrun.train.read_only]
options:
  stage:
    description: The stage that the cluster's Slurm job was submitted as.
    type: str
    default: ray
  wait:
    description:
      - Wait until the head is up. Fails, with the cause, if the job ends before that.
      - In a play, a line is shown for each change, and a lost connection does not end the task.
    type: bool
    default: false
  wait_timeout:
    description: Maximum seconds to wait, including the time in the queue.
    type: int
    default: 604800
  since:
    description: >-
      With O(wait), also answer when RV(digest) differs from this, or when the time is over.
    type: str
    default: ""
  relaunch:
    description:
      - With O(wait), a job that ended because of single nodes is not a failure while Slurm has
        others free that could replace them, and neither is one in which Ray only took too long to
        start. RV(again) is then true, and the next start excludes RV(excluded).
      - If several nodes all failed, the nodes are hardly to blame, and it is a failure.
    type: bool
    default: false
  sbatch:
    description: >-
      With O(relaunch), the options of C(sbatch) that the cluster's job was submitted with. The
      nodes that its C(exclude) names remain excluded.
    type: dict
    default: {}
seealso:
  - module: mnrun.train.slurm_job
  - module: mnrun.train.ray_job
"""

EXAMPLES = r"""
- name: Wait for the head
  mnrun.train.ray_cluster_info:
    run_dir: ~/training/multinode
    wait: true
  register: ray_cluster_result

- name: Add it to the inventory
  ansible.builtin.add_host:
    name: ray-head
    ansible_host: "{{ ray_cluster_result.head.host }}"
"""

RETURN = r"""
msg:
  description: The state, as text.
  type: str
  returned: always
job:
  description: The Slurm job, as M(mnrun.train.slurm_job) returns it.
  type: dict
  returned: when a cluster was ever started
again:
  description: The cluster is to be started once more.
  type: bool
  returned: with O(relaunch), when that may help
excluded:
  description: Nodes that the next job has to exclude, for C(sbatch --exclude); empty for none.
  type: str
  returned: with RV(again)
  sample: osk-gpu95
digest:
  description: Changes when the job's state or its reason does.
  type: str
  returned: when a cluster was ever started
head:
  description: >-
    How the head of the cluster is reached; null while not all of its nodes are up. As a whole, what
    M(mnrun.train.ray_job) and M(mnrun.train.ray_dashboard) take as their option C(head).
  type: dict
  returned: success
  contains:
    host:
      description: Slurm's name of the head's node.
      type: str
      sample: osk-gpu94
    ip:
      description: IPv4 address at which the other nodes reach the head.
      type: str
      sample: 10.94.0.94
    gcs_port:
      description: Port of Ray's GCS.
      type: int
      sample: 37173
    dashboard_port:
      description: Port of the dashboard and the job API, on the loopback of the head's node.
      type: int
      sample: 37174
    job_id:
      description: Id of the Slurm job that the cluster lives in.
      type: str
      sample: "12"
    token_file:
      description: File of mode 600 with the cluster's token, on the shared file system.
      type: str
gcs_address:
  description: Where the other nodes, and drivers on them, reach the head.
  type: str
  returned: when the cluster is up
  sample: 10.94.0.94:37173
dashboard_url:
  description: Where the dashboard and the job API listen, as seen from the head's node.
  type: str
  returned: when the cluster is up
  sample: http://127.0.0.1:37174
cluster:
  description: What else the cluster published about itself.
  type: dict
  returned: when the cluster is up
  contains:
    nodes:
      description: Slurm's names of all nodes, starting with the head.
      type: list
      elements: str
    gpus:
      description: GPUs on each node.
      type: int
    temp_dir:
      description: Ray's folder on each node.
      type: str
    ray_version:
      description: Version of Ray.
      type: str
    ready_seconds:
      description: Seconds from the start of the job's work until all nodes were up.
      type: float
    interface:
      description: The head's network interface on which the other nodes reach it.
      type: str
      sample: eth0
    open:
      description: Whether this Ray has no tokens, so that others can run programs on it.
      type: bool
    allreduce:
      description: >-
        GB/s of an all-reduce over all ranks (C(all)), and of each node's ranks with those of the
        first (C(nodes)), if that was measured.
      type: dict
      sample: {all: 178.4, nodes: {osk-gpu94: 181.0, osk-gpu95: 181.0}}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.base.clock import Clock
from ..module_utils.base.errors import Refused
from ..module_utils.base.files import expand
from ..module_utils.base.module_exit import with_edge
from ..module_utils.base.process import run
from ..module_utils.base.safe_name import check_name
from ..module_utils.ray.cluster import (
    Cluster,
    as_result,
    newest,
    refuse_ended,
    wait_for_head,
    why_ended,
)
from ..module_utils.ray.relaunch import find_spare, was_slow
from ..module_utils.record.ledger import Ledger
from ..module_utils.slurm.backend import SlurmBackend, SlurmJob
from ..module_utils.slurm.client import SlurmClient
from ..module_utils.stage.describe import line


def look(given: dict[str, Any]) -> dict[str, Any]:
    clock = Clock()
    run_dir = expand(given["run_dir"])
    stage = check_name("stage", given["stage"])
    ledger = Ledger(run_dir, stage, clock)
    record = newest(ledger)
    if record is None:
        if given["wait"]:
            raise Refused(f"No Ray cluster was started for the run {run_dir} yet.")
        return {"head": None, "msg": "No Ray cluster was started for this run yet."}
    backend = SlurmBackend(SlurmClient(run, clock), SlurmJob(run_dir, stage))
    seconds = given["wait_timeout"] if given["wait"] else 0.0
    cluster = wait_for_head(ledger, record, backend, clock, seconds, given["since"])
    answer = as_result(cluster, clock.now())
    answer["msg"] = line(answer)
    if given["wait"] and answer["head"] is None:
        again = _again(given, cluster, clock)
        if again:
            return {**answer, **again}
        refuse_ended(cluster)
        if not given["since"]:
            raise Refused(
                f"The Ray cluster is not up after {seconds:.0f} s (wait_timeout): {answer['msg']}. "
                "It was left alone; run the same command again to re-attach."
            )
    return answer


def _again(given: dict[str, Any], cluster: Cluster, clock: Clock) -> dict[str, Any]:
    """The answer about a cluster that can be started again; empty if that would not help."""
    if not given["relaunch"] or not cluster.attempt.settled:
        return {}
    already = str(given["sbatch"].get("exclude") or "")
    found = find_spare(cluster, SlurmClient(run, clock), clock.now(), already)
    if found:
        excluded = found.excluded
        how = f"Other nodes are free, so it is started once more without {', '.join(found.faulty)}."
    elif was_slow(cluster):
        excluded, how = already, "It only took too long to start, so it is started once more."
    else:
        return {}
    return {"again": True, "excluded": excluded, "msg": f"{why_ended(cluster)}\n{how}"}


def main() -> None:
    options = {
        "run_dir": {"type": "str", "required": True},
        "stage": {"type": "str", "default": "ray"},
        "wait": {"type": "bool", "default": False},
        "wait_timeout": {"type": "int", "default": 604800},
        "since": {"type": "str", "default": ""},
        "relaunch": {"type": "bool", "default": False},
        "sbatch": {"type": "dict", "default": {}},
    }
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    with_edge(module, lambda: {"changed": False, **look(module.params)})


if __name__ == "__main__":
    main()
