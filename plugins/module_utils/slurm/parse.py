"""Reading what Slurm's commands print. Pure; what is not understood is left out, never guessed.

Every table is asked for with its header: a header proves that the command really answered, which an
empty output does not. Its cells are separated by a text that is new for each question: a job may
have any name, with line breaks and bars in it, and none of them looks like a row or a cell.
"""

from __future__ import annotations

import re
import time
from typing import NamedTuple

from ..record.contract import JobRef, Phase

_QUEUE_COLUMNS = ["%i", "%T", "%r", "%S", "%N", "%j", "%k"]
HISTORY_FIELDS = "JobIDRaw,State,ExitCode,Submit,Start,End,NodeList,JobName,WorkDir,Comment"
_HISTORY_COLUMNS = HISTORY_FIELDS.split(",")
_ID = re.compile(r"[1-9][0-9]*")
_SUBMITTED = re.compile(r"([1-9][0-9]*)(?:;([A-Za-z0-9_][A-Za-z0-9_.-]*))?")
_START = re.compile(r"to start at (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)")
_ANY_ID = r"[0-9][0-9_+%,\[\]-]*"  # also of an array, or of a part of a heterogeneous job

# Not REVOKED: another cluster of a federation runs the job, which has not ended.
_PHASES = {
    Phase.QUEUED: "PENDING CONFIGURING REQUEUED REQUEUE_HOLD REQUEUE_FED SPECIAL_EXIT "
    "RESV_DEL_HOLD POWER_UP_NODE",
    Phase.RUNNING: "RUNNING SUSPENDED STOPPED SIGNALING RESIZING",
    Phase.ENDING: "COMPLETING STAGE_OUT",
    Phase.SUCCEEDED: "COMPLETED",
    Phase.FAILED: "FAILED TIMEOUT NODE_FAIL OUT_OF_MEMORY PREEMPTED BOOT_FAIL DEADLINE "
    "LAUNCH_FAILED RECONFIG_FAIL",
    Phase.CANCELLED: "CANCELLED",
}
PHASE_OF = {word: phase for phase, words in _PHASES.items() for word in words.split()}


class Row(NamedTuple):
    """One job in one of Slurm's answers. Times are epoch seconds; texts may be empty."""

    job_id: str
    state: str
    reason: str = ""
    exit_code: int | None = None
    submit: float | None = None
    start: float | None = None
    end: float | None = None
    nodes: str = ""
    name: str = ""
    comment: str = ""
    work_dir: str = ""

    @property
    def phase(self) -> Phase:
        """What the state means; UNKNOWN for a word that is not known."""
        return PHASE_OF.get(self.state, Phase.UNKNOWN)


def parse_submitted(out: str) -> JobRef | None:
    """The job in the output of `sbatch --parsable`, banners around it or not. None if there is
    none, or if other numbers stand there alone: which one it is shows the queue."""
    lines = (_SUBMITTED.fullmatch(line.strip()) for line in _whole_lines(out))
    found = {match.groups() for match in lines if match}
    if len(found) != 1:
        return None
    ((job_id, cluster),) = found
    return JobRef(job_id, cluster or "")


def parse_start(text: str) -> float | None:
    """When a job would start by `sbatch --test-only`, in epoch seconds; None if that is not in the
    text."""
    found = _START.search(text)
    return time.mktime(time.strptime(found[1], "%Y-%m-%dT%H:%M:%S")) if found else None


def queue_format(bar: str) -> str:
    """What squeue is asked for, with `bar` between the cells."""
    return bar.join(_QUEUE_COLUMNS)


def parse_queue(out: str, bar: str = "|") -> list[Row] | None:
    """The jobs that squeue lists; None if this is no answer of squeue."""
    table = _table(out, bar, ["JOBID", "STATE"], len(_QUEUE_COLUMNS), texts=2)
    if table is None:
        return None
    return [
        Row(
            job_id,
            _state(state),
            _word(reason),
            start=_seconds(start),
            nodes=_word(nodes),
            name=name,
            comment=comment,
        )
        for job_id, state, reason, start, nodes, name, comment in table
    ]


def parse_history(out: str, bar: str = "|") -> list[Row] | None:
    """The jobs that sacct lists; None if this is no answer of sacct."""
    table = _table(out, bar, _HISTORY_COLUMNS[:2], len(_HISTORY_COLUMNS), texts=3)
    if table is None:
        return None
    return [
        Row(
            job_id,
            _state(state),
            _by_whom(state),
            exit_code=_exit_code(code),
            submit=_seconds(submit),
            start=_seconds(start),
            end=_seconds(end),
            nodes=_word(nodes),
            name=name,
            work_dir=work_dir,
            comment=comment,
        )
        for job_id, state, code, submit, start, end, nodes, name, work_dir, comment in table
    ]


def parse_shown(out: str) -> Row | None:
    """The job in one line of `scontrol show job -o`; None if there is none."""
    line = _shown_line(out)
    values = {key: _field(line, key) for key in _SHOWN}
    if not _ID.fullmatch(values["JobId"]) or not values["JobState"]:
        return None
    return Row(
        job_id=values["JobId"],
        state=_state(values["JobState"]),
        reason=values["Reason"],
        exit_code=_exit_code(values["ExitCode"]),
        submit=_seconds(values["SubmitTime"]),
        start=_seconds(values["StartTime"]),
        end=_seconds(values["EndTime"]),
        nodes=values["NodeList"],
        name=values["JobName"],
        work_dir=_work_dir(line),
    )


_SHOWN = (
    *("JobId", "JobName", "JobState", "Reason", "ExitCode"),
    *("SubmitTime", "StartTime", "EndTime", "NodeList"),
)


def _shown_line(out: str) -> str:
    """The job's line; a line break in one of its texts is a space in it."""
    lines = _whole_lines(out)
    starts = [number for number, line in enumerate(lines) if line.startswith("JobId=")]
    first, end = (starts + [len(lines)] * 2)[:2]
    return " ".join(lines[first:end])


def _work_dir(line: str) -> str:
    match = re.search(r" WorkDir=(.*?)(?= Comment=| StdErr=|\n|$)", line)
    return match.group(1) if match else ""


def parse_cluster_name(out: str) -> str:
    """The ClusterName in `scontrol show config`; empty if it is not there."""
    match = re.search(r"^ClusterName\s*=\s*([A-Za-z0-9_.-]+)\s*$", out, re.MULTILINE)
    return match.group(1) if match else ""


def has_no_accounting(out: str) -> bool:
    """Whether `scontrol show config` reports a cluster without accounting."""
    none = r"^AccountingStorageType\s*=\s*(?:\(null\)|accounting_storage/none)\s*$"
    return re.search(none, out, re.MULTILINE) is not None


def _field(line: str, key: str) -> str:
    match = re.search(rf"(?:^| ){key}=(\S*)", line)
    return _word(match.group(1)) if match else ""


def _table(
    out: str, bar: str, header: list[str], columns: int, texts: int
) -> list[list[str]] | None:
    """The rows of a table that begin with a job's id; the last `texts` cells of each are a user's
    own. None if there is no table, or if it was cut off or torn: a job that is not in it is taken
    for one that is not there."""
    head = re.search(rf"^{re.escape(bar.join(header) + bar)}.*\n", out, re.MULTILINE)
    if head is None or not out.endswith("\n"):
        return None
    body = out[head.end() :]
    starts = [m.start() for m in re.finditer(rf"^{_ANY_ID}{re.escape(bar)}", body, re.MULTILINE)]
    pieces = [body[a : b - 1] for a, b in zip(starts, [*starts[1:], len(body)])]
    rows = [piece.split(bar, columns - 1) for piece in pieces]
    jobs = [row for row in rows if _ID.fullmatch(row[0])]
    if any(len(row) < columns or "\n" in "".join(row[:-texts]) for row in jobs):
        return None
    # Behind the last cell of a row there may be a banner.
    return [[*row[:-1], row[-1].partition("\n")[0].rstrip("\r")] for row in jobs]


def _whole_lines(out: str) -> list[str]:
    """Those that an end of line ends; texts of users may hold other separators."""
    return [line.rstrip("\r") for line in out.split("\n")[:-1]]


def _state(text: str) -> str:
    """`CANCELLED by 1000` and `COMPLETED+` begin with the state."""
    words = text.split(maxsplit=1)
    return words[0].rstrip("+") if words else ""


def _by_whom(text: str) -> str:
    return text.partition(" ")[2]


def _word(text: str) -> str:
    return "" if text in ("None", "(null)", "N/A", "None assigned", "Unknown") else text


def _seconds(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[1-9][0-9]{0,11}", text) else None


def _exit_code(text: str) -> int | None:
    """`code:signal` as a shell would say it."""
    match = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})", text)
    if not match:
        return None
    code, signal = int(match.group(1)), int(match.group(2))
    return 128 + signal if signal else code
