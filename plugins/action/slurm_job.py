"""Shows the progress of a Slurm job while a task waits for it."""

from __future__ import annotations

from ..plugin_utils.follow import Follow


class ActionModule(Follow):
    """See `Follow`."""

    module = "mnrun.train.slurm_job"
