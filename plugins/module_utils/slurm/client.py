"""Slurm's commands, each once: squeue, scontrol, sacct, sbatch, scancel and sinfo.

Every call is bounded in time, because Slurm's clients retry without a bound under rate limits.
An `Answer` without rows (None) means that there was no answer: unknown, and nothing else.
"""

from __future__ import annotations

import re
import secrets
from typing import NamedTuple

from ..base.clock import Clock
from ..base.errors import Invalid, Missing, Unknown
from ..base.process import Result, Runner
from .parse import (
    HISTORY_FIELDS,
    Row,
    has_no_accounting,
    parse_cluster_name,
    parse_history,
    parse_queue,
    parse_shown,
    queue_format,
)

QUERY_LIMIT = 30.0  # seconds for one question
STEP_LIMIT = 90.0  # for a command in a job, which may wait for the end of others there
SUBMIT_LIMIT = 180.0  # sbatch retries by itself for 120 s; ended earlier, it leaves a riddle
# A step beside others, that takes nothing of the job's.
_BESIDE = ("--overlap", "--exact", "--nodes=1", "--ntasks=1", "--cpus-per-task=1", "--gres=none",
           "--mem=0", "--cpu-bind=none", "--mpi=none", "--quiet", "--immediate=20")  # fmt: skip
_FRESH = 1.0  # seconds in which one answer of squeue serves several questions


# What Slurm's commands print when the connection was lost (slurm_errno.c), perhaps after slurmctld
# had done what was asked.
_LOST = (
    *(
        "timed out",
        "unable to contact",
        "standby mode",
        "temporarily unable",
        "rate limit exceeded",
    ),
    *("connection refused", "connection reset", "connection failure", "connection rejected"),
    *("forced closed", "send failure", "receive failure", "shutdown failure", "zero bytes"),
    *("unexpected message", "longer than data received", "insane message length"),
    *("authentication error", "transport endpoint", "broken pipe", "no route to host"),
    *("temporarily unavailable", "is unreachable"),
)

NOT_FOR_USERS = "users may not ask scontrol"  # why it is unknown whether a job is there


class Denied(Unknown):
    """A command answered, but not with what was asked: users may not see that here, there is no
    such command, or the site has replaced it by one of its own."""


class Answer(NamedTuple):
    """Rows, perhaps none; or None for rows, and why there was no answer."""

    rows: list[Row] | None
    error: str = ""


class SlurmClient:
    """Slurm, as the commands on this host see it. `run` is the boundary that tests replace."""

    def __init__(self, run: Runner, clock: Clock) -> None:
        self._run = run
        self.clock = clock
        self._queues: dict[str, tuple[float, Answer]] = {}
        self._config = ""

    def name(self) -> str:
        """This Slurm's ClusterName; empty if that is not known, as where scontrol is denied."""
        return parse_cluster_name(self._shown_config())

    def keeps_no_accounts(self) -> bool:
        """Whether this Slurm certainly has no accounting, and so no QOS."""
        return has_no_accounting(self._shown_config())

    def _shown_config(self) -> str:
        if not parse_cluster_name(self._config):
            try:
                result = self._query(["scontrol", "show", "config"])
            except Invalid:
                return ""
            self._config = result.out if result.code == 0 else ""
        return self._config

    def queue(self, cluster: str = "") -> Answer:
        """This user's jobs, including those that ended recently."""
        asked, answer = self._queues.get(cluster, (0.0, Answer(None)))
        now = self.clock.monotonic()
        if answer.rows is None or now - asked > _FRESH:
            answer = self._ask_queue(cluster)
            self._queues[cluster] = (now, answer)
        return answer

    def _ask_queue(self, cluster: str) -> Answer:
        bar = _new_bar()
        # Jobs in hidden partitions, too.
        wanted = ["--all", "--me", "-t", "all", "-o", queue_format(bar)]
        command = ["squeue", *_on(cluster), *wanted]
        result = self._query(command)
        whole = result.code == 0 and not _lost_a_part("squeue", result)
        rows = parse_queue(result.out, bar) if whole else None
        return Answer(rows, "" if rows is not None else _why("squeue", result))

    def show(self, job_id: str, cluster: str = "") -> Answer:
        """One job, as slurmctld remembers it. No rows: it certainly does not know the job.

        Where users may not ask scontrol, squeue shows this user's own jobs; that it does not show
        one is no proof.
        """
        if not _is_id(job_id):
            return Answer(None, f"{job_id!r} is not the id of a Slurm job")
        try:
            result = self._query(["scontrol", *_on(cluster), "show", "job", "-o", job_id])
        except Missing:
            return self._queued(job_id, cluster)
        row = parse_shown(result.out) if result.code == 0 else None
        if row:
            return Answer([row])
        if "Invalid job id specified" in result.out + result.err:
            return Answer([])
        if _denied(result):
            return self._queued(job_id, cluster)
        return Answer(None, _why("scontrol", result))

    def _queued(self, job_id: str, cluster: str) -> Answer:
        rows, error = self.queue(cluster)
        shown = [row for row in rows or [] if row.job_id == job_id]
        return Answer(shown) if shown else Answer(None, error or NOT_FOR_USERS)

    def history(self, selection: list[str], cluster: str = "") -> Answer:
        """Jobs in the accounting. A site without accounting answers with no rows, and so does one
        without sacct, or whose users may not ask it: there is nothing which could be read."""
        bar = _new_bar()
        wanted = ["-X", "-P", f"--delimiter={bar}", "-o", HISTORY_FIELDS]
        command = ["sacct", *_on(cluster), *wanted, *selection]
        try:
            result = self._query(command)
        except Missing:
            return Answer([], "there is no sacct")
        whole = result.code == 0 and not _lost_a_part("sacct", result)
        rows = parse_history(result.out, bar) if whole else None
        # Users' texts are in a table only.
        if rows is None and "accounting storage is disabled" in (result.out + result.err).lower():
            return Answer([], "accounting is off")
        if _denied(result):
            return Answer([], _why("sacct", result))
        return Answer(rows, "" if rows is not None else _why("sacct", result))

    def sbatch(self, arguments: list[str], script: str = "") -> Result:
        """Run sbatch; `script` is its standard input. The caller interprets the result."""
        self._queues.clear()
        return self._run(["sbatch", *arguments], SUBMIT_LIMIT, script)

    def cancel(self, job_id: str, cluster: str, signal: str) -> str:
        """Signal a job's batch shell, or cancel the job for an empty `signal`. Does not wait.
        Returns what went wrong, or nothing."""
        if not _is_id(job_id):
            return f"{job_id!r} is not the id of a Slurm job"
        self._queues.clear()
        how = ["--batch", f"--signal={signal}"] if signal else []
        result = self._query(["scancel", *_on(cluster), *how, job_id])
        return "" if result.code == 0 else _why("scancel", result)

    def steps(self, job_id: str) -> list[str] | None:
        """The ids of a job's live steps, without those that are part of every job; None if there
        was no answer."""
        result = self._query(["squeue", "--steps", f"--jobs={job_id}", "-o", "%i"])
        head, _newline, body = result.out.partition("STEPID\n")
        if result.code != 0 or not _newline or _lost_a_part("squeue", result):
            return None
        del head
        own = re.compile(rf"{re.escape(job_id)}\.[0-9]+")
        return [line for line in (one.strip() for one in body.splitlines()) if own.fullmatch(line)]

    def cancel_step(self, step: str) -> None:
        """Ask a step to end."""
        self._query(["scancel", step])

    def do_in(self, job_id: str, node: str, command: list[str]) -> str:
        """Run a command on a node of a job, for an empty `node` on this host. Returns what went
        wrong, or nothing."""
        step = ["srun", f"--jobid={job_id}", f"--nodelist={node}", *_BESIDE] if node else []
        result = self._run([*step, *command], STEP_LIMIT, "")
        return "" if result.code == 0 else _why((*step, *command)[0], result, STEP_LIMIT)

    def info(self, output: str) -> list[list[str]] | None:
        """Lines of `sinfo -o`, cells split at `|`; None if there was no answer."""
        try:
            result = self._query(["sinfo", "-h", "-a", "-o", output])
        except Missing:
            return None
        if result.code != 0 or not result.out.strip():
            return None
        width = output.count("|") + 1
        rows = [line.strip().split("|") for line in result.out.splitlines()]
        return [row for row in rows if len(row) == width]

    def ask(self, command: list[str]) -> str:
        """What a command of Slurm that changes nothing prints. Raises Unknown, or Denied."""
        try:
            result = self._query(command)
        except Missing as error:
            raise Denied(f"there is no {command[0]}") from error
        if result.code != 0:
            raise (Unknown if lost(result) else Denied)(_why(command[0], result))
        return result.out

    def help(self) -> str:
        """The options of this site's sbatch, as it lists them itself. Raises Unknown."""
        return self.ask(["sbatch", "--help"])

    def _query(self, command: list[str]) -> Result:
        return self._run(command, QUERY_LIMIT, "")


def lost(result: Result) -> bool:
    """Whether a command that failed lost its connection or was ended, so that nothing is known."""
    output = f"{result.err}\n{result.out}".lower()
    return result.code is None or result.code < 0 or any(words in output for words in _LOST)


def _lost_a_part(tool: str, result: Result) -> bool:
    """Whether a command lists what it got, and says itself that it lost a connection."""
    own = [line for line in result.err.lower().splitlines() if _is_own(tool, line)]
    return any(words in line for words in _LOST for line in own)


# What a command, or a site's own in its place, says to users who may not ask it. A passing trouble
# has other words, and is no answer.
_DENIAL = re.compile(
    r"(?i)\b(?:access|permission) denied|\bnot (?:permitted|allowed|authori[sz]ed|privileged)\b"
    r"|\b(?:restricted|disabled) (?:on|for|to|by)\b|\badministrators? only\b"
)


def _denied(result: Result) -> bool:
    """Whether a command was refused to this user, and would be the next time."""
    return bool(result.code and not lost(result) and _DENIAL.search(f"{result.err}\n{result.out}"))


def _is_id(text: str) -> bool:
    """True for a single job's id. Others may come from a file that somebody has changed."""
    return re.fullmatch(r"[1-9][0-9]{0,18}", text) is not None


def _new_bar() -> str:
    return f"|{secrets.token_hex(4)}|"


def _on(cluster: str) -> list[str]:
    """Raises Unknown for what cannot be the name of one cluster."""
    if cluster and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", cluster):
        raise Unknown(f"{cluster!r} is not the name of a Slurm cluster.")
    return [f"--clusters={cluster}"] if cluster else []


def own_words(tool: str, result: Result) -> str:
    """What a tool of Slurm itself wrote; without it, all that there is: a site may have put a
    program of its own in the tool's place, and print banners around either."""
    lines = [line.strip() for line in f"{result.err}\n{result.out}".splitlines()]
    own = [line for line in lines if _is_own(tool, line)]
    return "\n".join(own) or result.err.strip() or result.out


def _is_own(tool: str, line: str) -> bool:
    return re.match(rf"{tool}: |slurm_\w+( error)?: ", line) is not None


def _why(tool: str, result: Result, limit: float = QUERY_LIMIT) -> str:
    if result.code is None:
        return f"{tool} did not answer within {limit:.0f} s"
    words = " ".join(own_words(tool, result).split())[:300]
    return f"{tool}: {words or 'an unusable answer'} (exit code {result.code})"
