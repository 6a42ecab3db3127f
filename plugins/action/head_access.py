"""Tries ssh from the controller to a compute node, before anything waits in a queue.

The module of this name documents the options, and does what is done on the login node.
"""

from __future__ import annotations

from typing import Any

from ..plugin_utils.connection import PatientAction
from ..plugin_utils.login_ssh import node_words
from ..plugin_utils.ssh_trial import OPTIONS, refusal

MODULE = "mnrun.train.head_access"


class ActionModule(PatientAction):
    """Runs ssh on the controller."""

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Find out, with as little as suffices."""
        super().run(tmp, task_vars)
        if self._task.check_mode:
            return {"changed": False, "skipped": True}
        arguments = dict(self._task.args)
        ssh = ["ssh", *OPTIONS, *node_words(arguments)]
        found = self.call(MODULE, arguments, task_vars)
        if found.get("failed") or found["settled"]:
            return found
        if found["node"] and not refusal(ssh, found["node"]):
            return {**found, "settled": True}
        return self._beside_a_job(ssh, arguments, task_vars)

    def _beside_a_job(
        self, ssh: list[str], arguments: dict[str, Any], task_vars: Any
    ) -> dict[str, Any]:
        held = self.call(MODULE, {**arguments, "state": "held"}, task_vars)
        if held.get("failed") or not held["node"]:
            text = f"it is not known yet whether ssh reaches the Ray head: {held.get('msg')}."
            self.show("ray", text)
            return {"changed": False, "settled": False, "node": "", "job_id": "", "msg": text}
        try:
            said = refusal(ssh, held["node"])
        finally:
            end = {**arguments, "state": "released", "job_id": held["job_id"]}
            self.call(MODULE, end, task_vars)
        if said:
            return {**held, "failed": True, "msg": explained(held["node"], said)}
        return {**held, "settled": True}


def explained(node: str, said: str) -> str:
    """The message for a site whose compute nodes ssh does not reach."""
    return (
        f"ssh does not reach the compute nodes, on one of which the head of PPO's Ray cluster will "
        f"be: {node}, with a job of yours on it, answers: {said}. Nothing was submitted. If the "
        "site closes ssh to its compute nodes, set ray_cluster_head_connection: srun; otherwise "
        "give ssh what it needs (ansible_ssh_common_args, or ray_cluster_head_ssh_args)."
    )
