"""Shows the progress of a Ray job while a task waits for it."""

from __future__ import annotations

from typing import Any

from ..plugin_utils.follow import Follow

_HINT = (
    " If the site closes ssh to its compute nodes, set ray_cluster_head_connection: srun; otherwise"
    " give ssh what it needs (ansible_ssh_common_args, or ray_cluster_head_ssh_args)."
)


class ActionModule(Follow):
    """See `Follow`."""

    module = "mnrun.train.ray_job"
    passed = ("head",)
    continues = False  # a retry needs a Ray cluster first
    silence = 60.0  # the head may be permanently gone; the login node knows the job's state

    def _tells(self, arguments: dict[str, Any]) -> bool:
        """Why it ended is known once its cluster has ended, and the login node reaches more."""
        return not self._waits(arguments) and arguments.get("attempt") is not None

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """A head that cannot be reached is a failure of the task, not of the host it is for."""
        result = super().run(tmp, task_vars)
        unreachable = result.pop("unreachable", False)
        if not unreachable:
            return result
        hint = _HINT if getattr(self._connection, "transport", "") == "ssh" else ""
        return {**result, "failed": True, "lost": True, "msg": f"{result['msg']}{hint}"}
