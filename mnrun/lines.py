"""Texts about a run, as lines: failures, differences, durations."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

Result = Mapping[str, Any]
"""What a module returned, as the event carries it."""


_LOG_LINES, _LOG_WIDTH = 10, 200
"""How much of a log a failure shows: what it comes to is below."""


@dataclass(frozen=True)
class Failure:
    """Why a task failed on a host."""

    task: str
    host: str
    message: str
    log_path: str = ""
    log_tail: Sequence[str] = field(default=())

    def lines(self) -> Iterator[str]:
        """Yield the report: what failed, the end of the log that shows it, and last of all why."""
        yield f"{self.task} (on {self.host}):"
        if self.log_tail:
            yield f"  The end of {self.log_path or 'its log'}:"
            yield from (f"    {_as_on_screen(line)}" for line in self.log_tail[-_LOG_LINES:])
            yield ""
        elif self.log_path and self.log_path not in self.message:
            yield f"  Its log: {self.log_path}"
        yield from (f"  {line}" for line in self.message.splitlines())


def _as_on_screen(line: str) -> str:
    """Return what a terminal would show: a progress bar overwrites its line repeatedly."""
    return line.rstrip().rpartition("\r")[2][:_LOG_WIDTH]


def failures(task: str, host: str, result: Result) -> list[Failure]:
    """Return the failures of a task: one, or one for each item of its loop."""
    items = [item for item in result.get("results", []) if item.get("failed")]
    return [_failure(task, host, item) for item in items or [result]]


def _failure(task: str, host: str, result: Result) -> Failure:
    job = result.get("job") or {}
    return Failure(
        task=task,
        host=host,
        message=_message(result),
        log_path=result.get("log_path") or job.get("stderr") or job.get("stdout") or "",
        log_tail=tuple(result.get("log_tail") or ()),
    )


def _message(result: Result) -> str:
    """Return the module's message, and its output if the message is not enough."""
    message = text(result.get("msg", result.get("censored", "")))
    parts = [message.removeprefix("Task failed: ")]
    if parts[0].startswith("Module failed: "):
        parts.append("This is a bug in the module, not in your settings; -v shows where.")
    prefix = "" if "cmd" in result else "module_"  # a module that crashed before it could answer
    parts.append(result.get(f"{prefix}stderr") or result.get(f"{prefix}stdout") or "")
    if "Traceback" in str(result.get("exception")):  # with -v only, see runner.py
        parts.append(str(result["exception"]))
    return (
        "\n".join(part.strip() for part in parts if part) or "No reason was given; -v shows more."
    )


def text(value: object) -> str:
    """Return a value as a person would write it down: YAML, but for a text itself."""
    if value is None or isinstance(value, str):
        return value or ""
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)).rstrip()


def differences(result: Result) -> Iterator[str]:
    """Yield the lines of a unified diff for all that a module reports as changed."""
    for item in result.get("results") or [result]:
        found = item.get("diff") or []
        for part in [found] if isinstance(found, Mapping) else found:
            yield from _difference(part)


def _difference(part: Mapping[str, Any]) -> Iterator[str]:
    if "prepared" in part:
        yield from str(part["prepared"]).splitlines()
        return
    before, after = part.get("before"), part.get("after")
    old_name, new_name = part.get("before_header"), part.get("after_header")
    if isinstance(before, Mapping) or isinstance(after, Mapping):
        yield from _mapping_difference(before or {}, after or {})
    else:
        yield from _unified(before, after, old_name or "before", new_name or "after")


def _mapping_difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for key in {**before, **after}:
        yield from _unified(before.get(key), after.get(key), f"before: {key}", f"after: {key}")


def _unified(before: object, after: object, old_name: str, new_name: str) -> Iterator[str]:
    old, new = text(before).splitlines(), text(after).splitlines()
    yield from difflib.unified_diff(old, new, old_name, new_name, lineterm="")


def duration(seconds: float) -> str:
    """Return a duration as a person writes it: 4.2 s, 42 s, 1m 05s, 2h 03m.

    A copy of `duration` in plugins/module_utils/base/text.py, by which modules write them: from a
    checkout only ansible-core can import the collection. A test keeps the two equal.
    """
    seconds = max(0.0, seconds)
    if seconds < 59.5:
        return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f} s"
    minutes, rest = divmod(max(60, int(seconds)), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours}h {minutes_left:02d}m" if hours else f"{minutes}m {rest:02d}s"
