"""Shows what the relay of a run shows, until no relay continues it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..plugin_utils.connection import PatientAction
from ..plugin_utils.relay_turns import current, ended_well, lines, live

INFO = "mnrun.train.slurm_job_info"
_QUESTION = 30
"""Seconds of one query: some networks cut longer ones off."""


class ActionModule(PatientAction):
    """Follows the relays, whose log is one file, from one to the next."""

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Run the task; it fails unless the run is done."""
        super().run(tmp, task_vars)
        asked = {**self._task.args, "log_offset": {}}
        count = int(asked.pop("log_lines", 200))
        found = self._stages(asked, task_vars)
        entry = current(found.get("stages", []))
        if entry is None:
            return {"failed": True, "msg": found.get("msg") or _never(asked)}
        while entry is not None:
            asked["log_offset"] = self._follow(entry, {**asked, "log_lines": count}, task_vars)
            found = self._stages(asked, task_vars)
            if found.get("failed"):
                return found
            after = current(found["stages"])
            entry = after if after and live(after) else None
        done = ended_well(found["stages"])
        return {"failed": not done, "changed": False, "msg": "\n".join(lines(found["stages"]))}

    def _stages(self, asked: Mapping[str, Any], task_vars: Any) -> dict[str, Any]:
        question = {"run_dir": asked["run_dir"], "stage": "", "named": asked.get("named", False)}
        return self.call_patiently(INFO, question, task_vars)

    def _follow(
        self, entry: Mapping[str, Any], asked: dict[str, Any], task_vars: Any
    ) -> dict[str, int]:
        """Show what one relay writes, until it has ended; returns how far the log was read."""
        asked = {**asked, "stage": entry["stage"]}
        question = asked
        while True:
            answer = self.call_patiently(INFO, question, task_vars)
            if answer.get("failed") or not answer["stages"]:
                return dict(question["log_offset"])
            entry = answer["stages"][0]
            for item in entry["log"]["lines"]:
                self.show("relay", item["line"])
            offset = entry["log"]["offset"]
            if not live(entry):
                return dict(offset)
            question = {**asked, "log_offset": offset, "since": entry["digest"], "wait": True,
                        "wait_timeout": _QUESTION}  # fmt: skip


def _never(asked: Mapping[str, Any]) -> str:
    return f"The run in {asked['run_dir']} was not handed over: it has no relay to follow."
