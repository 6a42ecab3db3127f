"""Tells people how it is with a stage that a task follows (`mnrun_notify`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError

from .connection import PatientAction

_MODULE = "mnrun.train.notify"
_QUIET = ("environment", "preflight")
"""Stages whose jobs take seconds, about which no one is notified."""
_HOUR = 3600.0
_READ = ("stage", "record", "attempt", "job", "cause", "retryable", "failed", "msg", "output",
         "progress", "seconds")  # fmt: skip
"""Fields of a result that the module reads."""


class TellingAction(PatientAction):
    """An action plugin that has the module `notify` tell what it sees, which decides whether that
    is an event, and a new one. Nothing that goes wrong with it is a failure."""

    _waits_told = 0
    """The attempt that is known to wait for long."""

    def with_mail(self, arguments: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        """Have Slurm write about a job to the addresses for mail, unless its own options do."""
        targets = self._variable("mnrun_notify", task_vars) or []
        found = ",".join(str(one["mail"]) for one in targets if one.get("mail"))
        given = arguments.get("sbatch") or {}
        stage = str(arguments.get("stage", ""))
        if not found or "mail-user" in given or stage in _QUIET or stage.startswith("relay"):
            return arguments
        return {**arguments, "sbatch": {"mail-type": "END,FAIL", **given, "mail-user": found}}

    def tell(self, result: Mapping[str, Any], task_vars: Any, event: str = "stage") -> None:
        """Notify people of a result."""
        targets = self._variable("mnrun_notify", task_vars)
        stage = str(result.get("stage", ""))
        if not targets or self._task.check_mode or stage.startswith("relay"):
            return
        if not result.get("record"):
            return
        arguments = {
            "run_dir": self._task.args["run_dir"],
            "run_name": self._variable("mnrun_run_name", task_vars) or "",
            "targets": targets,
            "event": event,
            "result": {name: result[name] for name in _READ if name in result},
        }
        try:
            answer = self.call(_MODULE, arguments, task_vars)
        except AnsibleError as error:
            answer = {"failed": True, "msg": str(error)}
        faults = [answer.get("msg")] if answer.get("failed") else answer.get("faults") or []
        for fault in faults:
            self.show(stage, f"A notification failed: {fault}")

    def tell_waiting(self, entry: Mapping[str, Any], task_vars: Any) -> None:
        """Notify people, once, that a job has been in the queue for longer than expected."""
        hours = float(self._variable("mnrun_notify_waiting_hours", task_vars) or 0)
        attempt = int(entry.get("attempt") or 0)
        queued = (entry.get("job") or {}).get("phase") == "queued"
        if 0 < hours * _HOUR <= entry.get("seconds", 0) and queued and self._waits_told != attempt:
            self._waits_told = attempt
            self.tell(entry, task_vars, "waiting")

    def _variable(self, name: str, task_vars: Any) -> Any:
        value = (task_vars or {}).get(name)
        return self._templar.template(value) if value else value
