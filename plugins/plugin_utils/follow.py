"""Follows a job from the controller: a line for each change, and the result at the end.

The module itself could wait, but it could not show anything, and a lost connection would end the
play. So it is called without waiting, its read-only counterpart is polled for news, and a last
call, which can only wait for this one attempt, records the end.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar

from ansible.module_utils.parsing.convert_bool import boolean

from ..module_utils.base.fingerprint import fingerprint
from ..module_utils.record.contract import Phase
from ..module_utils.stage.describe import line
from .notify import TellingAction
from .stage_line import read_by_mnrun, wants_log

DEFAULT_TIMEOUT = 604800
"""Seconds; the modules' own default of `wait_timeout`."""

_QUESTION = 30
"""Maximum seconds of one query: some networks cut longer ones off."""

_MINUTE = 60.0
"""Seconds after which a line shows that the job is still there, though nothing has changed."""

_LOG_LINES = 40
"""Lines of each log that are shown of what was written before."""

_KEPT = ("changed", "action", "diff")
"""What the first call did; the last one only waits."""

ENDED = tuple(phase.value for phase in Phase if phase.ended)
"""Phases of a job that is over."""


class Follow(TellingAction):
    """The action plugin of a module with the options of `mnrun.train.stage`."""

    module: ClassVar[str]
    passed: ClassVar[tuple[str, ...]] = ()
    """Options beside run_dir and stage that the module's read-only twin needs as well."""
    continues: ClassVar[bool] = True
    """After an end that a successor cures (`retryable`), the module is called once more; False: the
    play has something to do before."""

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Run the task: as it is, unless there is something to wait for and to show."""
        super().run(tmp, task_vars)
        arguments = self._with_handover(dict(self._task.args), task_vars)
        answer = self._answer(arguments, task_vars)
        if self._tells(arguments):
            self.tell(answer, task_vars)
        return answer

    def _tells(self, arguments: dict[str, Any]) -> bool:
        """Whether what the task returns is known well enough to notify people."""
        return bool(arguments.get("state", "present") == "present")

    def _answer(self, arguments: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        if not self._waits(arguments):
            answer = self.call(self.module, arguments, task_vars)
            if answer.get("retryable"):
                self._show_all(arguments["stage"], answer)
            elif answer.get("notes"):
                self.show(arguments["stage"], str(answer["msg"]))
            return answer
        if arguments.get("attempt") is not None:
            key = fingerprint(arguments.get("spec") or {})
            known = {"attempt": int(arguments["attempt"]), "fingerprint": key}
            return self._follow(arguments, known, task_vars, time.monotonic())
        first = self.call(self.module, {**arguments, "wait": False}, task_vars)
        if first.get("failed") or first.get("action") == "nothing":
            return first
        self.show(arguments["stage"], str(first["msg"]))
        return self._to_the_end(arguments, first, task_vars)

    def _with_handover(self, arguments: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        """In an unattended run, nothing is done over that a person has not seen end."""
        since = float((task_vars or {}).get("mnrun_handed_over_at") or 0)
        present = arguments.get("state", "present") == "present"
        return {**arguments, "handed_over_at": since} if since and present else arguments

    def _to_the_end(
        self, arguments: dict[str, Any], first: dict[str, Any], task_vars: Any
    ) -> dict[str, Any]:
        """Follow an attempt, and its automatic retries."""
        begun, stage, attempt = time.monotonic(), arguments["stage"], first
        kept = {name: first[name] for name in _KEPT if name in first}
        while True:
            final = self._follow(arguments, attempt, task_vars, begun)
            if not (self.continues and final.get("retryable")):
                return {"attempt": attempt.get("attempt"), **final, **kept}
            self._show_all(stage, final)
            self.tell(final, task_vars)
            attempt = self.call_patiently(self.module, {**arguments, "wait": False}, task_vars)
            kept["changed"] = kept.get("changed") or attempt.get("changed")
            if attempt.get("failed") or attempt.get("action") == "nothing":
                return {**attempt, **kept}
            self.show(stage, str(attempt["msg"]))

    def _show_all(self, stage: str, answer: dict[str, Any]) -> None:
        """Show how an attempt ended that is retried: it would not be visible otherwise."""
        for text in str(answer["msg"]).splitlines():
            self.show(stage, text)

    def _waits(self, arguments: dict[str, Any]) -> bool:
        wanted = boolean(arguments.get("wait", False), strict=False)
        present = arguments.get("state", "present") == "present"
        return wanted and present and not self._task.check_mode

    def _follow(
        self, arguments: dict[str, Any], first: dict[str, Any], task_vars: Any, begun: float
    ) -> dict[str, Any]:
        """Show news, and now and then that there is none, until the attempt or the time ends.

        Returns the last result.
        """
        limit = float(arguments.get("wait_timeout", DEFAULT_TIMEOUT))
        stage, since, shown = arguments["stage"], "", begun
        offset: dict[str, int] = {}
        while time.monotonic() - begun < limit:
            elapsed = time.monotonic() - begun
            question = self._question(arguments, first, since, min(_QUESTION, limit - elapsed))
            question["min_interval"] = min(30.0, max(2.0, elapsed / 20))
            if wants_log():
                question.update(log_lines=_LOG_LINES, log_offset=offset)
            answer = self.call_patiently(f"{self.module}_info", question, task_vars)
            if answer.get("failed"):
                return answer
            entry: dict[str, Any] = next(iter(answer["stages"]), {})
            if entry.get("attempt") != first["attempt"]:
                break  # somebody else has started another attempt
            offset = self._show_log(stage, entry)
            quiet = time.monotonic() - shown < max(_MINUTE, elapsed / 20)
            if read_by_mnrun() or entry["digest"] != since or not quiet:
                since, shown = entry["digest"], time.monotonic()
                self.show_progress(stage, line(entry), entry)
            self.tell_waiting(entry, task_vars)
            if entry["job"]["phase"] in ENDED:
                break
        left = max(1, int(limit - (time.monotonic() - begun)))
        last = {**arguments, "wait": True, "wait_timeout": left, "attempt": first["attempt"]}
        return self.call_patiently(self.module, last, task_vars)

    def _show_log(self, stage: str, entry: dict[str, Any]) -> dict[str, int]:
        """Show new lines of the log, if they were asked for; returns how far it was read."""
        for item in entry["log"]["lines"]:
            self.show(stage, item["line"])
        return dict(entry["log"]["offset"])

    def _question(
        self, arguments: dict[str, Any], first: dict[str, Any], since: str, seconds: float
    ) -> dict[str, Any]:
        names = ("run_dir", "stage", *self.passed)
        rule = arguments.get("checkpoints") or {}
        saved = {name: rule[name] for name in ("path", "parts") if name in rule}
        return {
            **({"checkpoints": saved} if saved else {}),
            **{name: arguments[name] for name in names if name in arguments},
            "fingerprint": first["fingerprint"],
            "wait": True,
            "since": since,
            "wait_timeout": max(1, int(seconds)),
        }
