"""Waits until a stage has ended, on behalf of a script."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..module_utils.base.text import sentence
from ..module_utils.stage.describe import line
from ..plugin_utils.connection import LONGEST_SILENCE, PatientAction
from ..plugin_utils.follow import ENDED

INFO = "mnrun.train.slurm_job_info"
PAUSE = 30.0
"""Seconds between two queries, each of which is one squeue."""

_MINUTE = 60.0

_WITH_RESULT = ("sft", "ppo", "convert-sft", "convert-ppo")
"""Stages whose result is verified; of the others the job's exit code is the result."""

Entry = Mapping[str, Any]
_NOTHING: Entry = {}


class _News:
    """What is shown while it waits: each state at once, steps each minute and then ever less."""

    def __init__(self, begun: float) -> None:
        self._begun = self._shown = begun
        self._state = ""

    def due(self, entry: Entry, now: float) -> bool:
        """Whether to show this; `now` as `begun`, in seconds of the monotonic clock."""
        state = str(entry["digest"]).partition("-")[0]
        if state == self._state and now - self._shown < max(_MINUTE, (now - self._begun) / 20):
            return False
        self._state, self._shown = state, now
        return True


class ActionModule(PatientAction):
    """Queries the stage until its newest attempt has ended, and no retry follows it."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Run the task; it fails unless the stage is done."""
        super().run(tmp, task_vars)
        minutes = int(self._task.args.get("timeout") or 0)
        begun = answered = time.monotonic()
        before, news = _NOTHING, _News(begun)
        while True:
            answer = self._ask(task_vars)
            if answer.get("failed"):
                return answer
            entry = answer["stages"][0]
            now = time.monotonic()
            answered = now if entry["known"] else answered
            if now - answered > LONGEST_SILENCE:
                return _failed(f"Its state has been unknown for {now - answered:.0f} s: "
                               f"{entry['detail']}. Nothing was changed.")  # fmt: skip
            if _over(entry, before) or self._task.check_mode:
                return _answer(entry)
            if news.due(entry, now):
                self.show_progress(entry["stage"], line(dict(entry)), entry)
            left = minutes * 60 - (now - begun) if minutes else PAUSE
            if left < 1:
                return _failed(f"Not ended after {minutes} min: {line(dict(entry))}. It continues.")
            # The last query is at the end of the time, and no two are closer than PAUSE.
            time.sleep(left if left < 2 * PAUSE else PAUSE)
            before = entry

    def _ask(self, task_vars: Any) -> dict[str, Any]:
        """The answer about the stage; a failure if nothing is known of it."""
        stage, run_dir = self._task.args["stage"], self._task.args["run_dir"]
        named = self._task.args.get("named") or False
        asked = {"run_dir": run_dir, "stage": stage, "named": named, "causes": True}
        answer = self.call_patiently(INFO, asked, task_vars)
        if answer.get("failed") or answer["stages"]:
            return answer
        damaged = [str(one["msg"]) for one in answer["damaged"]]
        nothing = f"Nothing of the stage {stage} was submitted in {run_dir}."
        return _failed("\n".join(damaged) or nothing)


def _over(entry: Entry, before: Entry) -> bool:
    """Whether the stage has ended. Who follows it may retry it, and verify its result, a moment
    later: where that is open, it has ended if the next query finds the same."""
    if entry["job"]["phase"] not in ENDED:
        return False
    passing = bool((entry.get("cause") or {}).get("passing"))
    unverified = _succeeded(entry) and not (entry["settled"] or entry["stage"] not in _WITH_RESULT)
    return entry["digest"] == before.get("digest") or not (passing or unverified)


def _succeeded(entry: Entry) -> bool:
    return bool(entry["job"]["phase"] == "succeeded")


def _answer(entry: Entry) -> dict[str, Any]:
    """What the task returns about a stage that has ended, or in check mode about any."""
    text = sentence(line(dict(entry)))
    if entry["job"]["phase"] not in ENDED:
        return _failed(f"Not ended: {text}.")
    if entry["verified"] or (_succeeded(entry) and entry["stage"] not in _WITH_RESULT):
        return _done(f"{text}.")
    if not _succeeded(entry):
        return _failed(str(entry["problem"]))
    command = f"`mnrun {entry['stage'].replace('-', ' ')}`"
    if entry["settled"]:
        return _failed(f"{text}, but its result is not complete; {command} continues.")
    return _done(f"{text}. Its result was not verified yet; {command} does that.")


def _done(text: str) -> dict[str, Any]:
    return {"changed": False, "msg": text}


def _failed(text: str) -> dict[str, Any]:
    return {"failed": True, "changed": False, "msg": text}
