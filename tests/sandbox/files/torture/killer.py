"""A callback of Ansible that ends the controller by SIGKILL before or after a task: at the point
whose number is TORTURE_POINT (0: nowhere), with all that it started on its own machine."""

import os
import signal

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """See above."""

    CALLBACK_VERSION = 2.0
    CALLBACK_NAME = "killer"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self.left = int(os.environ["TORTURE_POINT"])

    def _point(self):
        self.left -= 1
        if self.left == 0:
            os.killpg(0, signal.SIGKILL)

    def v2_playbook_on_play_start(self, play):
        self._point()

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._point()

    def v2_runner_on_ok(self, result):
        self._point()

    def v2_playbook_on_stats(self, stats):
        self._point()
