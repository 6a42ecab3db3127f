"""What a playbook delivers to the command line. Nothing else of a run is interpreted.

Results of tasks, and lines that Ansible displays (docs/architecture.md shows examples):

- `summary`: a list of lines, printed last. The newest one counts.
- `mnrun_status`: a list of stages, printed as a table.
- `mnrun_document`: the runs that `-o json` prints (document.py).
- `mnrun_report`: the runs of which `mnrun report` writes a page (mnrun/report).
- `mnrun_shell`: where a shell is opened once the play is over, and by which command (shell.py).
- `mnrun_findings`: a list of what was found about a site; `msg` is the same as lines.
- `needs_yes`: a task was refused for want of a user's yes; `msg` says to what.
- `cause`, and the `phase` of `job`: a stage's attempt failed, or still runs, after its task.
- `[STAGE] TEXT`: a line about a stage, which stays on the screen.
- `[STAGE] … TEXT`: progress of a stage, which the stage's next line replaces on a terminal. Behind
  it, and a unit separator, stands the state of the stage as JSON.

The lines are written by plugins/plugin_utils/stage_line.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict

SUMMARY = "summary"
STATUS = "mnrun_status"
DOCUMENT = "mnrun_document"
REPORT = "mnrun_report"
SHELL = "mnrun_shell"
FINDINGS = "mnrun_findings"
NEEDS_YES = "needs_yes"

_STAGE_LINE = re.compile(r"\[(?P<stage>[a-z][a-z0-9_-]*)\](?: (?P<passing>… ?)?(?P<text>.*))?")

_BEHIND = "\x1f"


class Job(TypedDict):
    """The newest attempt's job. Times are seconds since the epoch, None while not known."""

    id: str
    name: str
    phase: str
    state: str
    reason: str
    exit_code: int | None
    start: float | None
    end: float | None
    nodes: str
    stdout: str
    stderr: str


class Progress(TypedDict, total=False):
    """How far the training is by its log; `first_NAME` is the first value of metric NAME."""

    step: int | None
    total: int | None
    metrics: dict[str, float]
    doing: str


_Known = TypedDict(
    "_Known",
    {
        "seconds": float,
        "why": str,
        "timing": dict[str, Any],
        "record": str,
        "from": list[dict[str, str]],
    },
    total=False,
)


class StageStatus(_Known):
    """One stage of a run, as slurm_job_info and ray_job_info return it."""

    stage: str
    known: bool
    """False: the scheduler gave no trustworthy answer, and this is the last that is known."""
    detail: str
    """Why it is not known."""
    attempt: int
    job: Job
    progress: Progress
    gpus: dict[str, Any] | None
    """How much the job used its GPUs, with `text`. None where it is not known."""
    services: list[dict[str, Any]]
    """What runs beside the training: each with name, node, address, log and up_seconds."""
    output: dict[str, Any] | None
    """The whole result: step, path, model, metrics. None while there is none."""


class StageLine(NamedTuple):
    """A line about a stage."""

    stage: str
    text: str
    passing: bool
    """The stage's next line takes its place."""
    state: Mapping[str, Any] | None = None
    """Of a passing one, what a module answered about the stage, where it is known."""


class Unfinished(NamedTuple):
    """A task that did what it should, though the work of its stage is not done."""

    failed: bool
    """The attempt has ended; False: its job waits or runs."""
    text: str


_LIVE = ("queued", "running", "ending")


def unfinished(result: Mapping[str, Any]) -> Unfinished | None:
    """Tell from a task's result that a stage's attempt failed, or still runs; None if neither."""
    found = [_unfinished(item) for item in result.get("results") or [result]]
    return next((one for one in found if one), None)


def _unfinished(result: Mapping[str, Any]) -> Unfinished | None:
    job, cause = result.get("job") or {}, result.get("cause")
    if cause:
        return Unfinished(True, str(cause.get("title") or "it failed"))
    if job.get("phase") in _LIVE:
        return Unfinished(False, f"job {job.get('id') or job.get('name')} {job.get('state')}")
    return Unfinished(False, "it is not known how it ended") if result.get("lost") else None


def needs_yes(result: Mapping[str, Any]) -> bool:
    """Whether a task was refused only because a user has to agree to what it would do."""
    return any(item.get(NEEDS_YES) for item in result.get("results") or [result])


def stage_line(line: str) -> StageLine | None:
    """Read a displayed line; None if it is not about a stage."""
    text, _mark, behind = line.rstrip().partition(_BEHIND)
    found = _STAGE_LINE.fullmatch(text)
    if not found:
        return None
    state = json.loads(behind) if found["passing"] and behind else None
    return StageLine(found["stage"], found["text"] or "", bool(found["passing"]), state)


def summary(result: Mapping[str, Any]) -> list[str]:
    """Return the summary in a task's result; empty if it has none."""
    return list(result.get(SUMMARY) or ())


def status(result: Mapping[str, Any]) -> list[StageStatus] | None:
    """Return the stages in a task's result; None if it has none."""
    return list(result[STATUS]) if STATUS in result else None


def document(result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what `-o json` prints, from a task's result; None if it has nothing of that."""
    found: Mapping[str, Any] | None = result.get(DOCUMENT)
    return found


def report(result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what `mnrun report` writes, from a task's result; None if it has nothing of that."""
    found: Mapping[str, Any] | None = result.get(REPORT)
    return found


def findings(result: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    """Return what was found about a site, from a task's result; None if it has nothing of that."""
    return list(result[FINDINGS]) if FINDINGS in result else None
