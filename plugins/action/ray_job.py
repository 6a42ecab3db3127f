"""Shows the progress of a Ray job while a task waits for it."""

from __future__ import annotations

from ..plugin_utils.follow import Follow


class ActionModule(Follow):
    """See `Follow`."""

    module = "mnrun.train.ray_job"
    passed = ("address", "token_file")
    continues = False  # a successor needs a Ray cluster first
