"""Shows how the Ray cluster starts while a task waits for its head."""

from __future__ import annotations

import time
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ..plugin_utils.follow import DEFAULT_TIMEOUT
from ..plugin_utils.notify import TellingAction

MODULE = "mnrun.train.ray_cluster_info"
_QUESTION = 30  # maximum seconds of one query


class ActionModule(TellingAction):
    """Transparent, but with `wait`: then a line for each change, until the head is up."""

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Run the task."""
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if not boolean(arguments.get("wait", False), strict=False):
            return self.call(MODULE, arguments, task_vars)
        arguments.setdefault("stage", "ray")
        deadline = time.monotonic() + float(arguments.get("wait_timeout", DEFAULT_TIMEOUT))
        since = "nothing yet"
        while True:
            left = max(1, int(deadline - time.monotonic()))
            last = left <= _QUESTION
            question = {"since": "" if last else since, "wait_timeout": min(left, _QUESTION)}
            answer = self.call_patiently(MODULE, {**arguments, **question}, task_vars)
            if answer.get("failed"):
                return answer
            if answer.get("again"):
                for line in str(answer["msg"]).splitlines():
                    self.show(arguments["stage"], line)
                return answer
            if answer["digest"] != since:
                since = answer["digest"]
                self.show_progress(arguments["stage"], answer["msg"], answer)
            self.tell_waiting(answer, task_vars)
            if answer["head"]:
                return answer
