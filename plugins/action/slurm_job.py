"""Shows the progress of a Slurm job while a task waits for it."""

from __future__ import annotations

from typing import Any

from ..plugin_utils.follow import Follow


class ActionModule(Follow):
    """See `Follow`."""

    module = "mnrun.train.slurm_job"

    def _answer(self, arguments: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        return super()._answer(self.with_mail(arguments, task_vars), task_vars)
