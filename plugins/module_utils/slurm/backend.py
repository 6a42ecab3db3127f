"""Slurm as a backend of the stage logic: one batch job for each attempt."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..base.errors import Invalid, MnrunError, Refused, Rejected, Uncertain, Unknown
from ..base.process import Result
from ..base.safe_name import check_name
from ..record.contract import GONE, Attempt, Found, JobRef, Observation, Phase, Stray
from ..record.inside import is_inside, slurm_job
from ..record.job_report import has_started, read_end, read_start
from ..record.log_pattern import log_pattern, resolve
from ..record.mark import mark
from ..record.recorder import with_end_recorder
from ..record.witness import forget, other_slurm, still_writing, unseen
from .allocation import Allocation
from .client import SUBMIT_LIMIT, Answer, SlurmClient, lost, own_words
from .directives import with_directives
from .inside import OWN_ID, Inside, started_as
from .last_words import told_by_log
from .live import live_jobs
from .nodelist import names_in
from .nodes import lost_nodes, spare_nodes
from .parse import Row, parse_start, parse_submitted
from .reasons import in_words
from .refusal import explain, never_starts

_LATE = 60.0  # seconds in which a network file system may hide a new file from a host
NEVER_RAN = "its script never began on"  # and the node's name
_SLACK = 300.0  # seconds that two hosts' clocks may differ
_RESERVED = ("record.json", "request.json", "script.sh", "start-", "end-")
# Words of an sbatch that lost its connection: the job may have been accepted nevertheless.


@dataclass(frozen=True)
class SlurmJob:
    """What sbatch gets, except for what each attempt adds."""

    run_dir: Path
    stage: str
    script: str = ""  # without directives
    sbatch: dict[str, str] = field(default_factory=dict)  # made by sbatch_options
    files: dict[str, str] = field(default_factory=dict)
    output: str = ""  # made by log_pattern
    error: str = ""
    allocation: Allocation | None = None  # of the relay; in place of jobs of their own


class SlurmBackend:
    """Carries out and reports; see `contract.Backend`."""

    noun = "job"
    quiet_window = 150.0

    def __init__(self, client: SlurmClient, job: SlurmJob) -> None:
        self._client = client
        self._job = job
        self._inside = Inside(client, job.run_dir)

    def attempt_name(self, base: str, fingerprint: str, number: int) -> str:
        """The job's name: the comment does not reach every site's accounting, the name does."""
        return f"{base}-{fingerprint[:8]}-{number}"

    def files(self, folder: Path, attempt: Attempt) -> dict[str, str]:
        """The batch script and the files beside it."""
        text = with_directives(self._job.script, self._job.sbatch)
        own = (OWN_ID,) if self._job.allocation else ()
        script = with_end_recorder(text, folder, attempt, *own)
        return {**self._job.files, "script.sh": script}

    def check(self, folder: Path, attempt: Attempt) -> float | None:
        """Let Slurm validate the request without submitting it."""
        if self._job.allocation:
            return None  # it begins at once
        self._check_limits()
        script = self.files(folder, attempt)["script.sh"]
        result = self._client.sbatch(["--test-only", *self._arguments(folder, attempt)], script)
        self._judge(result, Unknown)
        return parse_start(f"{result.err}\n{result.out}")

    def submit(self, folder: Path, attempt: Attempt) -> JobRef:
        """Submit the script in `folder`, or start it in the allocation."""
        if self._job.allocation:
            inside = started_as(self._job.allocation)
            self._name_logs(attempt, inside)
            self._inside.submit(self._job.allocation, folder, attempt, inside)
            return inside
        self._check_limits()
        script = str(folder / "script.sh")
        result = self._client.sbatch([*self._arguments(folder, attempt), script])
        job = parse_submitted(result.out) if result.code == 0 else None
        if job is None:
            self._judge(result, Uncertain)
            raise Uncertain(f"sbatch returned no job id: {_summary(result)}")
        self._name_logs(attempt, job)
        return job

    def find(self, folder: Path, attempt: Attempt) -> Found:
        """By the job's own start record, by the token in the queue, by name in the accounting."""
        found = self._find(folder, attempt)
        if found.job:
            self._name_logs(attempt, found.job)
        return found

    def _find(self, folder: Path, attempt: Attempt) -> Found:
        started = read_start(folder, attempt)
        if started:
            return Found(True, started)
        queue = self._client.queue()
        if queue.rows is None:
            return Found(False, None, queue.error)
        queued = [row for row in queue.rows if row.name == attempt.name]
        mine = [row for row in queued if f"token={attempt.token}" in row.comment]
        if mine:
            return Found(True, _first(mine))
        doubt = other_slurm(folder, attempt, self._client.name)
        if doubt:
            return doubt.found
        since = self._since(attempt)
        past = self._client.history([f"--name={attempt.name}", "-S", f"uts{since:.0f}"])
        if past.rows is None:
            return Found(False, None, past.error)
        kept = _first([row for row in past.rows if self._is_mine(row, attempt, since)])
        doubt = None if kept else unseen(folder, attempt, self._client.name)
        return doubt.found if doubt else Found(True, kept)

    def _since(self, attempt: Attempt) -> float:
        """The earliest time (epoch seconds) at which its job can have been submitted; 0.0, so any,
        if the clock of its controller was ahead."""
        since = attempt.intent_time - _SLACK
        return since if since < self._client.clock.now() else 0.0

    def observe(self, folder: Path, attempt: Attempt) -> Observation:
        """squeue first, as one answer serves all jobs; then slurmctld's memory, the accounting,
        and last what the job itself wrote.

        Raises Refused where an allocation is held for an attempt that is alive outside of it."""
        seen = self._observe(folder, attempt)
        own = self._job.allocation.job if self._job.allocation else slurm_job(attempt.job_id)
        if seen.phase in (Phase.QUEUED, Phase.RUNNING) and own != slurm_job(attempt.job_id):
            raise Refused(
                f"Job {attempt.job_id}, outside of this allocation (job {own}), is working on the "
                f"stage {self._job.stage}. The nodes here are not kept waiting for it."
            )
        return seen

    def _observe(self, folder: Path, attempt: Attempt) -> Observation:
        if is_inside(attempt.job_id):
            return self._inside.observe(folder, attempt)
        queue = self._client.queue(attempt.slurm_cluster)
        row = _row(queue.rows, attempt)
        if row and row.phase.live:
            return _observation(row)
        seen = self._ended(folder, attempt, row)
        return self._with_start(folder, attempt, seen)

    def _ended(self, folder: Path, attempt: Attempt, row: Row | None) -> Observation:
        """What is known of an attempt that the queue does not have as live."""
        doubt = other_slurm(folder, attempt, self._client.name)
        if doubt:
            return read_end(folder, attempt) or doubt.observation
        shown = self._client.show(attempt.job_id, attempt.slurm_cluster)
        remembered = _row(shown.rows, attempt)
        if remembered and remembered.phase is not Phase.UNKNOWN:
            return _observation(remembered)
        past = self._client.history([f"--jobs={attempt.job_id}"], attempt.slurm_cluster)
        row = _row(past.rows, attempt, since=self._since(attempt))
        if row and row.phase.ended:
            return _observation(row)
        ended = read_end(folder, attempt)
        ended = ended or self._without_trace(folder, attempt, shown, past, row or remembered)
        return told_by_log(ended, attempt.log_paths, attempt.job_id)

    def _with_start(self, folder: Path, attempt: Attempt, seen: Observation) -> Observation:
        """What was observed; but a success is one only if the job's script began. A job that its
        node cannot launch is COMPLETED after no time."""
        if seen.phase is not Phase.SUCCEEDED or has_started(folder, attempt):
            return seen
        if seen.end and 0 <= self._client.clock.now() - seen.end < _LATE:
            return Observation(Phase.UNKNOWN, detail="what the job recorded is not visible yet")
        where = (names_in(seen.nodes) or [seen.nodes or "its node"])[0]
        return replace(seen, phase=Phase.FAILED, reason=f"{NEVER_RAN} {where}")

    def _without_trace(
        self, folder: Path, attempt: Attempt, shown: Answer, past: Answer, odd: Row | None
    ) -> Observation:
        """Nothing reported how the job ended. It is certainly gone only if both sources that could
        know it answered, neither has a row about it, and we would see it if it were alive."""
        if shown.rows is None or past.rows is None:
            where = f"where it never answers and squeue has no such job, {forget(folder)}"
            return Observation(Phase.UNKNOWN, detail=f"{shown.error or past.error} ({where})")
        if odd:
            called = f"Slurm calls the job {odd.state or 'nothing'}"
            advice = f"if it is over, {forget(folder)}"
            return Observation(Phase.UNKNOWN, detail=f"{called} ({advice})")
        if any(row.job_id == attempt.job_id for row in shown.rows):
            return _GONE  # its id is another job's now
        doubt = unseen(folder, attempt, self._client.name) or still_writing(
            folder, attempt, self._client.clock.now()
        )
        return doubt.observation if doubt else _GONE

    def slurm_name(self) -> str:
        """ClusterName of this host's Slurm."""
        return self._client.name()

    def live_jobs(self, base: str) -> list[Stray]:
        """By their comment; where a site overwrites that, by name and folder."""
        return live_jobs(self._client, self._job.run_dir, self._job.stage, base)

    def stop(self, attempt: Attempt, signal: str) -> None:
        """Signal the batch shell, or cancel."""
        if is_inside(attempt.job_id):
            self._inside.stop(attempt, signal)
            return
        problem = self._client.cancel(attempt.job_id, attempt.slurm_cluster, signal)
        if problem:
            raise Unknown(f"Job {attempt.job_id} could not be cancelled: {problem}")

    def enclosing_end(self, attempt: Attempt) -> Observation | None:  # noqa: ARG002
        """A batch job does not run inside another one."""
        return None

    def lost_nodes(self, attempt: Attempt) -> list[str]:
        """Those that are down according to Slurm, and those that srun named in the log."""
        if attempt.reason.startswith(NEVER_RAN):
            return names_in(attempt.nodes)[:1]
        return lost_nodes(self._client, attempt.nodes, attempt.log_paths)

    def spare(self, nodes: list[str]) -> list[str]:
        """All of `nodes` that the job does not ask for by name, if enough others are free; none in
        an allocation, whose nodes are what they are."""
        if self._job.allocation:
            return []
        return spare_nodes(self._client, self._job.sbatch, nodes)

    def _check_limits(self) -> None:
        problem = never_starts(self._job.sbatch, self._client)
        if problem:
            raise Rejected(problem)

    def _judge(self, result: Result, unclear: type[MnrunError]) -> None:
        """Raise what a failed sbatch means: a refusal, or `unclear` if it lost its connection."""
        if lost(result):
            raise unclear(f"sbatch did not end cleanly: {_summary(result)}")
        if result.code != 0:
            raise Rejected(explain(own_words("sbatch", result), self._job.sbatch, self._client))

    def _is_mine(self, row: Row, attempt: Attempt, since: float) -> bool:
        """The accounting may lack comments; then the name, the time and the folder must do."""
        if row.name != attempt.name or (row.submit or 0.0) < since:
            return False
        if row.comment:
            return f"token={attempt.token}" in row.comment
        # sacct shows a double quote in a folder's name as a backquote.
        return row.work_dir == str(self._job.run_dir).replace('"', "`")

    def _name_logs(self, attempt: Attempt, job: JobRef) -> None:
        """Where the logs are. Slurm's own answer is wrong for paths with %% in them."""
        output = self._job.output or log_pattern(
            f"{self._job.run_dir}/slurm-%j.out", self._job.run_dir
        )
        attempt.stdout = resolve(output, attempt.name, job.job_id)
        attempt.stderr = resolve(self._job.error or output, attempt.name, job.job_id)

    def _arguments(self, folder: Path, attempt: Attempt) -> list[str]:
        comment = mark(self._job.run_dir, self._job.stage, folder, attempt)
        arguments = [
            "--parsable",
            "--no-requeue",
            f"--job-name={attempt.name}",
            f"--comment={comment}",
            f"--chdir={self._job.run_dir}",
        ]
        if attempt.exclude:
            given = self._job.sbatch.get("exclude", "")
            arguments.append(f"--exclude={','.join(filter(None, (given, attempt.exclude)))}")
        logs = (("output", self._job.output), ("error", self._job.error))
        return arguments + [f"--{option}={pattern}" for option, pattern in logs if pattern]


def job_files(files: dict[str, Any]) -> dict[str, str]:
    """Files for a record's folder. Raises Invalid for names that belong to others there."""
    for name in files:
        if check_name("The name of a file", name).startswith(_RESERVED):
            raise Invalid(f"A file beside the script cannot be called {name}: mnrun writes that.")
    return {name: str(text) for name, text in files.items()}


def _first(rows: list[Row]) -> JobRef | None:
    """The job submitted first: of two with one token the other one ends by itself."""
    ids = sorted(int(row.job_id) for row in rows)
    return JobRef(str(ids[0])) if ids else None


def _row(rows: list[Row] | None, attempt: Attempt, since: float = 0.0) -> Row | None:
    """The attempt's own row: Slurm uses ids again, so that the name must fit as well."""
    fitting = (
        row
        for row in rows or []
        if row.job_id == attempt.job_id
        and row.name == attempt.name
        and ("token=" not in row.comment or f"token={attempt.token}" in row.comment)
        and (row.submit is None or row.submit >= since)
    )
    return next(fitting, None)


def _observation(row: Row) -> Observation:
    return Observation(
        phase=row.phase,
        state=row.state,
        reason=row.reason,
        exit_code=row.exit_code if row.phase.ended else None,
        start=None if row.phase is Phase.QUEUED else row.start,
        end=row.end if row.phase.ended else None,
        nodes=row.nodes,
        expected=row.start if row.phase is Phase.QUEUED else None,
        why=in_words(row.reason) if row.phase is Phase.QUEUED else "",
    )


_GONE = Observation(
    Phase.GONE, GONE, "Slurm does not know the job any more and its end was not recorded"
)


def _summary(result: Result) -> str:
    if result.code is None:
        return f"it did not end within {SUBMIT_LIMIT:.0f} s"
    words = " ".join(own_words("sbatch", result).split())[:300]
    return f"{words or 'no output'} (exit code {result.code})"
