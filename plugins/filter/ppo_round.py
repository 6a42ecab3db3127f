"""The filter that decides what comes next while PPO is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

DOCUMENTATION = r"""
name: ppo_round
short_description: Decide the next step of a PPO training
description:
  - One round of the role P(mnrun.train.ppo#role) is a Ray cluster, a training on it, and the
    shutdown of the cluster. This decides each of its steps from the results of the tasks before it.
  - The ledger limits the number of rounds; RV(_value.again) only returns its decision.
author: The mnrun authors
version_added: 0.1.0
options:
  _input:
    description:
      - What is known. C(plan) and C(end) are results of M(mnrun.train.ray_job) on the login node,
        before the training and after its cluster was stopped; C(training) is its result on the
        head. Results that do not exist yet are empty, or those of the previous round.
      - C(cluster) is what was done to start a Ray cluster
        (RV(mnrun.train.slurm_job#module:action)).
      - C(find_only), C(wait) and C(check) are how the role was called.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: See whether there is anything to train
  ansible.builtin.debug:
    msg: "{{ ({'plan': ppo_plan_result, 'wait': true} | mnrun.train.ppo_round).trains }}"
"""

RETURN = r"""
_value:
  description: The decisions.
  type: dict
  contains:
    needs_cluster:
      description: A Ray cluster is needed, or would be.
      type: bool
    trains:
      description: The training is to be submitted, or attached to.
      type: bool
    refused:
      description: The training was not submitted. There is nothing to wait for.
      type: bool
    lost:
      description: The head does not answer, so the training is followed from the login node.
      type: bool
    stops_if_used:
      description: >-
        The cluster is stopped only if PPO has run in it. False for one that this round started and
        did not use.
      type: bool
    asks:
      description: >-
        The training ended without a result. The reason is known only after its cluster has ended.
      type: bool
    failed:
      description: It is not retried.
      type: bool
    again:
      description: The next round follows.
      type: bool
    result:
      description: The final result of PPO.
      type: dict
"""

_STARTED = ("submitted", "resubmitted", "replaced")

Result = Mapping[str, Any]


def ppo_round(known: Mapping[str, Any]) -> dict[str, Any]:
    """Give the decisions; each holds from the task on whose result it depends."""
    plan, end = _result(known, "plan"), _result(known, "end")
    again = bool(end.get("retryable"))
    training = _of_this_round(_result(known, "training"), end if again else {})
    has_attempt = training.get("attempt") is not None
    needs_cluster = plan.get("action") != "nothing" and not known.get("find_only")
    return {
        "needs_cluster": needs_cluster,
        "trains": needs_cluster and not known.get("check"),
        "refused": bool(training.get("failed")) and not has_attempt,
        "lost": bool(training.get("lost")),
        "stops_if_used": has_attempt or known.get("cluster") not in _STARTED,
        "asks": has_attempt and not training.get("output") and bool(known.get("wait")),
        "failed": bool(end.get("failed")) and not again,
        "again": again,
        "result": (not again and end) or training or plan,
    }


def _result(known: Mapping[str, Any], name: str) -> Result:
    """A task's result; empty if the task did not run."""
    result: Result = known.get(name) or {}
    return {} if result.get("skipped") else result


def _of_this_round(training: Result, ended: Result) -> Result:
    """The training, unless it is that of the round before, which has ended and is followed by
    this one."""
    same = ended and ended.get("attempt") == training.get("attempt")
    return {} if same else training


class FilterModule:
    """The filter as Ansible finds it."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by their names."""
        return {"ppo_round": ppo_round}
