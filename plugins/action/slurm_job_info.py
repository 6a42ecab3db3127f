"""Shows a stage's log lines, and follows new ones."""

from __future__ import annotations

import time
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ..module_utils.base.text import size
from ..module_utils.stage.describe import line
from ..plugin_utils import stage_line
from ..plugin_utils.connection import PatientAction
from ..plugin_utils.follow import ENDED

_OFTEN, _SELDOM, _SHARE = 2, 300.0, 3.0
"""Seconds between two answers at least and at most, and as a multiple of what an answer took."""

MODULE = "mnrun.train.slurm_job_info"


class ActionModule(PatientAction):
    """Transparent, but for `log_lines`, which are shown, and `follow`."""

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Run the task; with `follow`, until the job has ended."""
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        seconds = int(arguments.pop("watch", 0) or 0)
        if seconds and not self._task.check_mode:
            return self._watch(arguments, float(max(_OFTEN, seconds)), task_vars)
        answer = self.call(MODULE, arguments, task_vars)
        if answer.get("failed") or not int(arguments.get("log_lines", 0)):
            return answer
        if not answer["stages"]:
            damaged = [one["msg"] for one in answer["damaged"]]
            message = "\n".join(damaged) or _nothing(arguments)
            return {**answer, "failed": True, "msg": message}
        shown = self._show(answer["stages"], "")
        if not shown:
            self._show_waiting(answer["stages"])
        if not boolean(arguments.get("follow", False), strict=False):
            return answer
        ended = False
        while not ended:  # and once more after the end, for the last lines
            entry = answer["stages"][0]
            ended = entry["job"]["phase"] in ENDED
            more = {"wait": True, "since": entry["digest"], "log_offset": entry["log"]["offset"]}
            answer = self.call_patiently(MODULE, {**arguments, **more}, task_vars)
            if answer.get("failed"):
                return answer
            shown = self._show(answer["stages"], shown)
        return answer

    def _watch(self, arguments: dict[str, Any], seconds: float, task_vars: Any) -> dict[str, Any]:
        """Show all stages until an answer fails. A cluster that is slow is asked less often."""
        while True:
            begun = time.monotonic()
            answer = self.call_patiently(MODULE, arguments, task_vars)
            if answer.get("failed"):
                return answer
            took = time.monotonic() - begun
            pause = max(seconds, min(_SELDOM, _SHARE * took))
            self._display.display(stage_line.watched(answer, pause))
            time.sleep(pause)

    def _show(self, stages: list[dict[str, Any]], shown: str) -> str:
        """Show the new lines; `shown` is the log of the last line."""
        for entry in stages:
            skipped = entry["log"].get("skipped") or {}
            for path, missing in skipped.items():
                self.show_progress(entry["stage"], f"{size(missing)} skipped; all of it: {path}")
            for item in entry["log"]["lines"]:
                if item["path"] != shown:
                    shown = item["path"]
                    self.show_progress(entry["stage"], f"==> {shown} <==")
                self.show(entry["stage"], item["line"])
        return shown

    def _show_waiting(self, stages: list[dict[str, Any]]) -> None:
        """Show how it is that there is nothing in the logs."""
        for entry in stages:
            yet = "" if entry["job"]["phase"] in ENDED else " yet"
            self.show_progress(entry["stage"], f"Nothing in its log{yet}: {line(entry)}.")


def _nothing(arguments: dict[str, Any]) -> str:
    stage = arguments.get("stage")
    what = f"The stage {stage} has" if stage else "Nothing has"
    return f"{what} not run in {arguments.get('run_dir')} yet, so there is no log."
