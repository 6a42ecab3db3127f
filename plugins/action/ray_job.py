"""Shows the progress of a Ray job while a task waits for it."""

from __future__ import annotations

from typing import Any

from ..plugin_utils.follow import Follow


class ActionModule(Follow):
    """See `Follow`."""

    module = "mnrun.train.ray_job"
    passed = ("head",)
    continues = False  # a retry needs a Ray cluster first
    silence = 60.0  # the head may be permanently gone; the login node knows the job's state

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """A head that cannot be reached is a failure of the task, not of the host it is for."""
        result = super().run(tmp, task_vars)
        unreachable = result.pop("unreachable", False)
        return {**result, "failed": True, "lost": True} if unreachable else result
