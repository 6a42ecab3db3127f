"""Looks at a compute node while a short job of ours is on it, also by ssh from the controller.

The module of this name documents the options, and does what is done on the login node.
"""

from __future__ import annotations

from typing import Any

from ..plugin_utils.connection import PatientAction
from ..plugin_utils.login_ssh import node_words
from ..plugin_utils.ssh_trial import OPTIONS, refusal

MODULE = "mnrun.train.site_node_info"


class ActionModule(PatientAction):
    """Runs ssh on the controller."""

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Have the module start the job and look, then try ssh, then end the job."""
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        found = self.call(MODULE, arguments, task_vars)
        if found.get("failed") or not found["job_id"]:
            return {**found, "ssh": None}
        try:
            ssh = ["ssh", *OPTIONS, *node_words(arguments)]
            node = (found["node"] or {}).get("host")
            return {**found, "ssh": refusal(ssh, node) if node else None}
        finally:
            self.call(MODULE, {**arguments, "ends": found["job_id"]}, task_vars)
