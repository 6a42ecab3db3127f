"""Reading what Slurm's commands print. Pure; what is not understood is left out, never guessed.

Every table is asked for with its header: a header proves that the command really answered,
which an empty output does not.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..record.contract import JobRef, Phase

QUEUE_FORMAT = "%i|%T|%r|%S|%N|%j|%k"
_ID = re.compile(r"[1-9][0-9]*")
_QUEUE_HEADER = re.compile(r"JOBID\|STATE\|")
HISTORY_FIELDS = "JobIDRaw,State,ExitCode,Submit,Start,End,NodeList,JobName,WorkDir,Comment"
_HISTORY_HEADER = re.compile(r"JobIDRaw\|State\|")

_JOB_LINE = re.compile(r"[1-9][0-9]*\|")

_PHASES = {
    Phase.QUEUED: "PENDING CONFIGURING REQUEUED REQUEUE_HOLD REQUEUE_FED SPECIAL_EXIT "
    "RESV_DEL_HOLD POWER_UP_NODE",
    Phase.RUNNING: "RUNNING SUSPENDED STOPPED SIGNALING RESIZING",
    Phase.ENDING: "COMPLETING STAGE_OUT",
    Phase.SUCCEEDED: "COMPLETED",
    Phase.FAILED: "FAILED TIMEOUT NODE_FAIL OUT_OF_MEMORY PREEMPTED BOOT_FAIL DEADLINE REVOKED "
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
    """The job in the output of `sbatch --parsable`, banners around it or not."""
    for line in reversed(_whole_lines(out)):
        match = re.fullmatch(r"([1-9][0-9]*)(?:;([A-Za-z0-9_.-]+))?", line.strip())
        if match:
            return JobRef(match.group(1), match.group(2) or "")
    return None


def parse_queue(out: str) -> list[Row] | None:
    """The jobs that squeue lists; None if this is no answer of squeue."""
    lines = _below_header(out, _QUEUE_HEADER, 6)
    if lines is None:
        return None
    rows = []
    for line in lines:
        cells = line.split("|", 6)
        if len(cells) == 7 and _ID.fullmatch(cells[0]):
            job_id, state, reason, start, nodes, name, comment = cells
            rows.append(
                Row(
                    job_id,
                    _state(state),
                    _word(reason),
                    start=_seconds(start),
                    nodes=_word(nodes),
                    name=name,
                    comment=comment,
                )
            )
    return rows


def parse_history(out: str) -> list[Row] | None:
    """The jobs that sacct lists; None if this is no answer of sacct."""
    lines = _below_header(out, _HISTORY_HEADER, 9)
    if lines is None:
        return None
    rows = []
    for line in lines:
        cells = line.split("|", 8)
        if len(cells) == 9 and _ID.fullmatch(cells[0]):
            # Both may hold the separator; our token stands at the very end of our comment.
            work_dir, _bar, comment = cells[8].rpartition("|")
            row = Row(
                job_id=cells[0],
                state=_state(cells[1]),
                reason=_by_whom(cells[1]),
                exit_code=_exit_code(cells[2]),
                submit=_seconds(cells[3]),
                start=_seconds(cells[4]),
                end=_seconds(cells[5]),
                nodes=_word(cells[6]),
                name=cells[7],
                work_dir=work_dir,
                comment=comment,
            )
            rows.append(row)
    return rows


def parse_shown(out: str) -> Row | None:
    """The job in one line of `scontrol show job -o`; None if there is none."""
    line = next((text for text in _whole_lines(out) if text.startswith("JobId=")), "")
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
    )


_SHOWN = (
    *("JobId", "JobName", "JobState", "Reason", "ExitCode"),
    *("SubmitTime", "StartTime", "EndTime", "NodeList"),
)


def _field(line: str, key: str) -> str:
    match = re.search(rf"(?:^| ){key}=(\S*)", line)
    return _word(match.group(1)) if match else ""


def _below_header(out: str, header: re.Pattern[str], bars: int) -> list[str] | None:
    """The lines of a table, each with `bars` separators or more. None if there is no table, or if
    it was cut off or torn: a job that is not in it is taken for one that is not there."""
    lines = _whole_lines(out)
    start = next((n + 1 for n, line in enumerate(lines) if header.match(line)), None)
    if start is None or not out.endswith("\n"):
        return None
    table = lines[start:]
    torn = any(_JOB_LINE.match(line) and line.count("|") < bars for line in table)
    return None if torn else table


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
