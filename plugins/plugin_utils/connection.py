"""Calls a module on a host that may be unreachable for a while."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

from ansible.errors import AnsibleConnectionFailure

from ..module_utils.base.text import printable
from . import stage_line
from .answer import AnswerAction
from .srun_step import AllocationOverError

LONGEST_SILENCE = 600.0
"""Seconds without a connection after which to give up, if there is no other host to ask."""

_ALL_STAGES = "status"
"""What a line is about that is about no stage alone."""

_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 30.0


class PatientAction(AnswerAction):
    """An action plugin whose module calls survive a lost connection."""

    silence: ClassVar[float] = LONGEST_SILENCE
    """Seconds without a connection after which it gives up; its result is `lost` then."""

    def show(self, stage: str, text: str) -> None:
        """Show a line about a stage, at once."""
        self._display.display(stage_line.lasting(stage, printable(text)))

    def show_progress(self, stage: str, text: str, entry: Mapping[str, Any] | None = None) -> None:
        """Show a line that the stage's next one replaces; `entry` is what a module answered."""
        self._display.display(stage_line.passing(stage, printable(text), entry))

    def call(self, module: str, arguments: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        """Run a module once. A lost connection is an `unreachable` result, and one that cannot come
        back a failure."""
        try:
            answer = self._execute_module(
                module_name=module, module_args=arguments, task_vars=task_vars
            )
        except AllocationOverError as error:
            return {"failed": True, "msg": f"{error.message} Run the command again to continue."}
        except AnsibleConnectionFailure as error:
            return {"unreachable": True, "failed": True, "msg": self._reason(error)}
        return dict(answer)

    def _reason(self, error: AnsibleConnectionFailure) -> str:
        """What ssh says. If it ends before it was sent the module, Ansible reports only that."""
        if "Data could not be sent" in str(error):
            try:
                self._connection.exec_command("true", sudoable=False)
            except AnsibleConnectionFailure as said:
                return str(said)
        return str(error)

    def call_patiently(
        self, module: str, arguments: dict[str, Any], task_vars: Any
    ) -> dict[str, Any]:
        """Run a module that may be run any number of times, until the host answers.

        After `silence` seconds, the result is a failure that reports it.
        """
        stage = str(arguments.get("stage") or _ALL_STAGES)
        deadline = time.monotonic() + self.silence
        pause = _FIRST_PAUSE
        while True:
            answer = self.call(module, arguments, task_vars)
            if not _lost(answer):
                return answer
            if time.monotonic() + pause > deadline:
                return {
                    "failed": True,
                    "lost": True,
                    "msg": f"There was no connection for {self.silence:.0f} s. Jobs on the cluster "
                    f"continue; run the same again to re-attach. {answer.get('msg', '')}",
                }
            self.show_progress(stage, f"no connection; trying again in {pause:.0f} s")
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)


def _lost(answer: dict[str, Any]) -> bool:
    """True if this is not the module's own answer: no connection, or a killed ssh process."""
    if answer.get("unreachable"):
        return True
    silent = "module_stdout" in answer and not answer["module_stdout"].strip()
    code = int(answer.get("rc", 0))
    return silent and (code < 0 or code == 255)
