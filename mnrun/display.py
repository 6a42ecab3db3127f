"""What is shown during a run: events of ansible-runner in, lines on a terminal out."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mnrun import contract, lines
from mnrun.live import LiveLine
from mnrun.terminal import Terminal

Event = Mapping[str, Any]

_STRAY_LINES = 40
"""How many lines of ansible's own output are kept, for errors outside of any task."""

_LONG = 10
"""Seconds after which a task gets a line even where lines cannot be erased."""

_OF_FIRST_USE = re.compile(
    r"Module remote_tmp \S+ did not exist and was created with a mode of 0?700, this may cause "
    r"issues when running as another user\. To avoid this, create the remote_tmp dir with the "
    r"correct permissions manually\.?"
)
"""Ansible's warning about the folder that its first module on a host makes: mnrun's modules run as
one user."""


@dataclass(frozen=True)
class Style:
    """How much is shown."""

    verbosity: int = 0
    diff: bool = False
    headings: bool = True
    where: str = ""
    """The site and the run, behind the first heading."""


@dataclass
class PlayOutcome:
    """All that is known about a run after its last event."""

    changed: int = 0
    hosts: int = 0
    """Hosts on which at least one task ran."""
    failures: list[lines.Failure] = field(default_factory=list)
    needs_yes: bool = False
    """Nothing failed, but a user has to agree to what would be done."""
    unreachable: bool = False
    """One of the failures is an unreachable host."""
    stray: deque[str] = field(default_factory=lambda: deque(maxlen=_STRAY_LINES))
    summary: list[str] = field(default_factory=list)
    stages: list[contract.StageStatus] | None = None
    findings: list[str] | None = None
    """Everything that was found about a site, as lines; faults in it are all that failed."""
    document: Event | None = None
    """What `-o json` prints."""
    report: Event | None = None
    """What `mnrun report` writes."""


class Display:
    """Shows each event and collects the outcome."""

    def __init__(
        self,
        terminal: Terminal,
        style: Style,
        clock: Callable[[], float] = time.monotonic,
        log: Terminal | None = None,
    ) -> None:
        """`log`: where lasting lines of stages are printed, without the stage: those of a log."""
        self.outcome = PlayOutcome()
        self._terminal = terminal
        self._style = style
        self._log = log
        self._clock = clock
        self._headed = False
        self._live = LiveLine(terminal, clock, verbose=style.verbosity > 0)
        self._task = ""
        self._task_start = 0.0
        self._announced = False
        self._warned: set[str] = set()
        self._handlers: dict[str, Callable[[Event], None]] = {
            "playbook_on_play_start": self._play,
            "playbook_on_task_start": self._task_start_event,
            "runner_on_ok": self._ok,
            "runner_on_skipped": self._skipped,
            "runner_on_failed": self._failed,
            "runner_on_unreachable": self._unreachable,
            "playbook_on_stats": self._stats,
            "verbose": self._output,
            "error": self._output,
            "warning": self._warning,
            "system_warning": self._warning,
        }

    def handle(self, event: Event) -> bool:
        """Show one event. False: ansible-runner need not write it to disk."""
        handler = self._handlers.get(event["event"])
        if handler:
            handler(event)
        if self._style.verbosity >= 2 and event["event"] not in ("verbose", "error"):
            self._lines(event.get("stdout", ""))
        return False

    def _lines(self, text: str) -> None:
        for line in text.splitlines():
            self._terminal.line(line)

    def tick(self) -> bool:
        """Show how long the task has been running; False if there is no reader any more."""
        elapsed = self._clock() - self._task_start
        self._live.tick()
        if self._task and not self._live.active and elapsed >= 1:
            self._terminal.note(f"  … {self._task}  {elapsed:.0f} s")
            if elapsed >= _LONG and not self._terminal.live and not self._announced:
                self._announced = True
                self._terminal.line(f"  … {self._task}")
        return not (self._terminal.gone or (self._log and self._log.gone))

    def end(self) -> None:
        """Leave the screen tidy, whatever the last event was."""
        self._end_line()

    def _play(self, event: Event) -> None:
        self._end_line()
        if self._style.headings:
            where = f" · {self._style.where}" if self._style.where and not self._headed else ""
            self._headed = True
            heading = self._terminal.style(f"▸ {event['event_data']['name']}", "bold")
            self._terminal.line(f"{heading}{self._terminal.style(where, 'dim')}")

    def _task_start_event(self, event: Event) -> None:
        self._end_line()
        self._task = event["event_data"]["name"]
        self._task_start = self._clock()
        self._announced = False
        self._terminal.note(f"  … {self._task}")

    def _end_line(self) -> None:
        """Leave the last progress of a stage on the screen, and nothing of a task."""
        if self._live.active:
            self._live.end()
        else:
            self._terminal.drop()
        self._task = ""

    def _ok(self, event: Event) -> None:
        data = event["event_data"]
        result = data.get("res") or {}
        changed = bool(result.get("changed"))
        self._gather(result)
        self._warn(result.get("warnings") or ())
        self._end_line()
        if (changed and self._style.headings) or self._style.verbosity:
            self._done_line(data, result, changed)
        if data.get("resolved_action") == "ansible.builtin.debug" and "msg" in result:
            self._lines(lines.text(result["msg"]))
        if self._style.diff:
            for line in lines.differences(result):
                self._terminal.line(f"    {self._coloured(line)}")

    def _done_line(self, data: Mapping[str, Any], result: lines.Result, changed: bool) -> None:
        """A task is over; what it began need not be."""
        left = contract.unfinished(result)
        if left:
            mark = self._terminal.style("✗", "yellow") if left.failed else "•"
            self._task_line(mark, data, f": {left.text}")
        else:
            self._task_line(self._terminal.style("✓", "green") if changed else "•", data)

    def _coloured(self, line: str) -> str:
        colour = {"+": "green", "-": "red"}.get(line[:1])
        return self._terminal.style(line, colour) if colour else line

    def _gather(self, result: lines.Result) -> None:
        self.outcome.summary = contract.summary(result) or self.outcome.summary
        stages = contract.status(result)
        self.outcome.stages = self.outcome.stages if stages is None else stages
        self.outcome.document = contract.document(result) or self.outcome.document
        self.outcome.report = contract.report(result) or self.outcome.report
        found = contract.findings(result)
        if found is not None:
            self.outcome.findings = lines.text(result.get("msg")).splitlines()
            self.outcome.document = {"findings": found}

    def _task_line(self, mark: str, data: Mapping[str, Any], note: str = "") -> None:
        host = f"  ({data['host']})" if self._style.verbosity else ""
        self._terminal.line(f"  {mark} {data['task']}{note}{host}")

    def _skipped(self, event: Event) -> None:
        if self._style.verbosity:
            self._task_line("-", event["event_data"])

    def _failed(self, event: Event) -> None:
        data = event["event_data"]
        if data.get("ignore_errors"):
            return
        self._add_failures(data)

    def _add_failures(self, data: Mapping[str, Any]) -> None:
        result = data.get("res") or {}
        self._gather(result)
        if contract.findings(result) is not None:
            self._end_line()
            return
        self.outcome.unreachable |= bool(result.get("unreachable"))
        self.outcome.needs_yes |= contract.needs_yes(result)
        self.outcome.changed += int(bool(result.get("changed")))  # before it failed
        self._warn(result.get("warnings") or ())
        self._end_line()
        if not contract.needs_yes(result):
            self._task_line(self._terminal.style("✗", "red"), data)
        known = {failure.message for failure in self.outcome.failures}
        for failure in lines.failures(data["task"], data["host"], result):
            if failure.message not in known:  # a rescue may have repeated it
                self.outcome.failures.append(failure)

    def _unreachable(self, event: Event) -> None:
        self.outcome.unreachable = True
        self._add_failures(event["event_data"])

    def _stats(self, event: Event) -> None:
        data = event["event_data"]
        self._end_line()
        self.outcome.changed += sum(data["changed"].values())
        self.outcome.hosts = len(data["processed"])

    def _output(self, event: Event) -> None:
        for line in event.get("stdout", "").splitlines():
            about = contract.stage_line(line)
            if about:
                self._stage_line(about, line)
            else:
                self._stray(line.rstrip())

    def _stage_line(self, about: contract.StageLine, line: str) -> None:
        if self._log:
            self._log_line(self._log, about, line.partition("] ")[2])
            return
        if about.passing:
            self._live.take(about)
        else:
            self._terminal.line(f"  [{about.stage}] {about.text}")

    def _log_line(self, log: Terminal, about: contract.StageLine, line: str) -> None:
        self._terminal.drop()
        if about.passing:  # ours, and no line of the log
            self._terminal.line(about.text)
        else:
            log.line(line)

    def _stray(self, line: str) -> None:
        self.outcome.stray.append(line)
        if self._style.verbosity >= 2:
            self._terminal.line(line)

    def _warning(self, event: Event) -> None:
        text = event.get("stdout", "").strip()
        self._warn([text.removeprefix("[WARNING]: ")] if text else [])

    def _warn(self, warnings: Sequence[str]) -> None:
        for text in (" ".join(warning.split()) for warning in warnings):
            if text not in self._warned and not _OF_FIRST_USE.fullmatch(text):
                self._warned.add(text)
                self._terminal.line(self._terminal.style(f"  ! {text}", "yellow"))
