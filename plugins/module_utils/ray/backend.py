"""Ray as a backend of the stage logic: each attempt is one Ray job on the head of a run's cluster.

A Ray cluster lives in a Slurm job, and a Ray job ends with its cluster. So an attempt carries the
Slurm job id of its head as `head_job`, and what Ray forgets stands on the shared file system: the
driver's log, and the start and end that the driver's script records by itself.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..base.errors import Refused, Rejected, Uncertain, Unknown
from ..base.files import make_directory
from ..record.contract import GONE, Attempt, Found, JobRef, Observation, Phase, Stray
from ..record.job_report import read_end, read_start, start_path
from ..record.log_pattern import resolve
from ..record.mark import MARK, mark, names_run
from ..record.recorder import with_end_recorder
from ..record.witness import Doubt, other_slurm, still_writing, unseen
from .client import Answer, RayClient, parse_object, parse_objects
from .head import HeadOver, Heads

_PHASES = {
    "PENDING": Phase.QUEUED,
    "RUNNING": Phase.RUNNING,
    "SUCCEEDED": Phase.SUCCEEDED,
    "FAILED": Phase.FAILED,
    "STOPPED": Phase.CANCELLED,
}
_KILLED = {128 + 9, 128 + 15}  # exit codes of SIGKILL and SIGTERM
_MARK = "mnrun_mark"  # in the metadata
_LATE = 500  # an answer from here on: Ray may have begun to work on the request


@dataclass(frozen=True)
class RayJob:
    """What Ray gets, except for what each attempt adds."""

    run_dir: Path
    stage: str
    script: str = ""  # for bash, without a first line `#!`
    files: dict[str, str] = field(default_factory=dict)
    output: str = ""  # of the driver's log, made by log_pattern; empty: beside the script
    head_job: str = ""  # Slurm job id of the connected head


class RayRecords:
    """Ray jobs without a connection to a head: their state from their files, and from Slurm's
    answers about their heads. Enough for a plan, and for queries. See `contract.Backend`.
    """

    noun = "Ray job"
    quiet_window = 10.0

    def __init__(self, job: RayJob, head_over: HeadOver, heads: Heads | None = None) -> None:
        self._job = job
        self._head_over = head_over
        self._heads = heads

    def attempt_name(self, base: str, fingerprint: str, number: int) -> str:
        """The submission id."""
        return f"{base}-{fingerprint[:8]}-{number}"

    def files(self, folder: Path, attempt: Attempt) -> dict[str, str]:
        """The driver's script and the files beside it."""
        text = f"#!/bin/bash\n{self._job.script}"
        script = with_end_recorder(text, folder, attempt, shlex.quote(attempt.name))
        return {**self._job.files, "script.sh": script}

    def check(self, folder: Path, attempt: Attempt) -> float | None:  # noqa: ARG002
        """Nothing to check against."""
        return None

    def submit(self, folder: Path, attempt: Attempt) -> JobRef:
        """Refuse."""
        raise Refused(f"{attempt.name} in {folder} needs a Ray head (head).")

    def find(self, folder: Path, attempt: Attempt) -> Found:
        """From the driver's own start record: for a plan, what did not start does not exist."""
        return Found(True, read_start(folder, attempt))

    def observe(self, folder: Path, attempt: Attempt) -> Observation:
        """How it ended according to itself; otherwise it lives as long as its head."""
        end = read_end(folder, attempt)
        if end:
            return self._explained(end, attempt)
        doubt = other_slurm(folder, attempt, self.slurm_name)
        # Without a cluster it was found by its start record only, so on a head before this one.
        over = self._is_over(attempt) if attempt.head_job and not doubt else True
        if over:
            doubt = doubt or self._doubt(folder, attempt)
            if doubt:
                return doubt.observation
            where = f" (Slurm job {attempt.head_job})" if attempt.head_job else ""
            return _gone(f"it was lost with its Ray cluster{where}")
        if over is None:
            why = f"Slurm does not report whether its Ray cluster (job {attempt.head_job}) is alive"
            return Observation(Phase.UNKNOWN, attempt.state, detail=why)
        if start_path(folder, attempt.number).exists():
            return Observation(Phase.RUNNING, "RUNNING", stdout=str(self._log(folder, attempt)))
        return Observation(Phase.QUEUED, "PENDING")

    def _doubt(self, folder: Path, attempt: Attempt) -> Doubt | None:
        """Why its cluster may be alive although Slurm does not know that job any more."""
        heads, used = self._heads, attempt.intent_time
        if not heads or not attempt.head_job or not heads.forgotten(attempt.head_job, used):
            return None
        return unseen(folder, attempt, self.slurm_name) or still_writing(
            folder, attempt, heads.now()
        )

    def slurm_name(self) -> str:
        """ClusterName of the Slurm in which its cluster's job runs."""
        return self._heads.slurm_name() if self._heads else ""

    def live_jobs(self, base: str) -> list[Stray]:  # noqa: ARG002
        """None: there is no connection to a head, and nothing is submitted."""
        return []

    def _explained(self, end: Observation, attempt: Attempt) -> Observation:
        """A killed driver reports that; it cannot know that its cluster was lost."""
        killed = end.exit_code in _KILLED and bool(attempt.head_job)
        if killed and self._is_over(attempt):
            return replace(end, reason=f"its Ray cluster is over, Slurm job {attempt.head_job}")
        return end

    def _is_over(self, attempt: Attempt) -> bool | None:
        return self._head_over(attempt.head_job, attempt.intent_time)

    def enclosing_end(self, attempt: Attempt) -> Observation | None:
        """How its Ray cluster's Slurm job ended."""
        if not self._heads or not attempt.head_job:
            return None
        return self._heads.end(attempt.head_job, attempt.intent_time)

    def lost_nodes(self, attempt: Attempt) -> list[str]:
        """Those of its Ray cluster."""
        if not self._heads or not attempt.head_job:
            return []
        return self._heads.lost_nodes(attempt.head_job, attempt.intent_time)

    def spare(self, nodes: list[str]) -> list[str]:  # noqa: ARG002
        """None: its Ray cluster's job chooses the nodes."""
        return []

    def stop(self, attempt: Attempt, signal: str) -> None:  # noqa: ARG002
        """Refuse."""
        raise Refused(f"Ray job {attempt.job_id} can only be stopped on its head (head).")

    def _log(self, folder: Path, attempt: Attempt) -> Path:
        if attempt.stdout:
            return Path(attempt.stdout)
        if self._job.output:
            return Path(resolve(self._job.output, attempt.name, attempt.name))
        return folder / f"{attempt.name}.log"


class RayBackend(RayRecords):
    """Carries out and reports, on one head."""

    def __init__(
        self, client: RayClient, job: RayJob, head_over: HeadOver, heads: Heads | None = None
    ) -> None:
        super().__init__(job, head_over, heads)
        self._client = client

    def check(self, folder: Path, attempt: Attempt) -> float | None:  # noqa: ARG002
        """Check whether the head answers and accepts our token."""
        answer = self._client.version()
        if answer.status is None:
            raise Unknown(f"The Ray head does not respond: {answer.summary}")
        if answer.status != 200:
            raise Rejected(f"The Ray head refuses the request: {answer.summary}")
        return None

    def submit(self, folder: Path, attempt: Attempt) -> JobRef:
        """Submit the script in `folder`, unless its job exists already."""
        found = self.find(folder, attempt)
        if found.job:
            return found.job
        log = self._log(folder, attempt)
        make_directory(log.parent)
        metadata = {_MARK: mark(self._job.run_dir, self._job.stage, folder, attempt)}
        answer = self._client.submit(attempt.name, _entrypoint(folder, log), metadata)
        if answer.status != 200:
            _judge(answer, attempt)
        attempt.stdout = str(log)
        return JobRef(attempt.name, head_job=self._job.head_job)

    def find(self, folder: Path, attempt: Attempt) -> Found:
        """By the submission id, and by the driver's own start record (if the head is gone)."""
        answer = self._client.job(attempt.name)
        job = _job(answer)
        sign = _sign(job) if job else None
        if sign and sign.group("token") == attempt.token:
            return Found(True, JobRef(attempt.name, head_job=self._job.head_job))
        if job is None and answer.status != 404:
            return Found(False, None, answer.summary)
        return super().find(folder, attempt)

    def observe(self, folder: Path, attempt: Attempt) -> Observation:
        """Ray's status counts while the attempt's head is alive; after that, its own record."""
        if other_slurm(folder, attempt, self.slurm_name):
            return super().observe(folder, attempt)  # whose head may have the same job id
        if attempt.head_job != self._job.head_job:
            return super().observe(folder, attempt)
        answer = self._client.job(attempt.job_id)
        job = _job(answer)
        if job:
            return _observation(job, str(self._log(folder, attempt)))
        if answer.status == 404:
            return read_end(folder, attempt) or _gone("the Ray head does not know the job")
        # Perhaps there is no head any more: then the files and Slurm know that the job is over.
        seen = super().observe(folder, attempt) if answer.status is None else None
        if seen and seen.phase.ended:
            return seen
        return Observation(Phase.UNKNOWN, detail=answer.summary)

    def live_jobs(self, base: str) -> list[Stray]:  # noqa: ARG002
        """By their marks: other runs and stages may use the same head."""
        answer = self._client.jobs()
        jobs = parse_objects(answer.body) if answer.status == 200 else None
        if jobs is None:
            raise Unknown(f"The Ray head does not list its jobs: {answer.summary}.")
        found = []
        for job in jobs:
            sign = _sign(job)
            if sign and self._is_ours(sign) and _is_live(job):
                found.append(_stray(job, sign, self._job.head_job))
        return found

    def _is_ours(self, sign: re.Match[str]) -> bool:
        return sign.group("stage") == self._job.stage and names_run(sign, self._job.run_dir)

    def stop(self, attempt: Attempt, signal: str) -> None:  # noqa: ARG002
        """Ask Ray to end the job: SIGTERM, after 3 s SIGKILL, whatever `signal` is."""
        answer = self._client.stop(attempt.job_id)
        if answer.status not in {200, 404}:
            raise Unknown(f"Ray job {attempt.job_id} could not be stopped: {answer.summary}")


def _judge(answer: Answer, attempt: Attempt) -> None:
    """Raise the error for an unsuccessful submission."""
    if "already exists" in answer.body:
        raise Rejected(
            f"The Ray cluster has a job {attempt.name} that is not in this run's ledger (was the "
            "record removed while it ran?). Stop the cluster with `mnrun ray stop`."
        )
    if answer.status is None or answer.status >= _LATE:
        raise Uncertain(f"The submission to Ray did not end cleanly: {answer.summary}")
    raise Rejected(f"Ray refuses the job: {answer.summary}")


def _entrypoint(folder: Path, log: Path) -> str:
    """Ray keeps its log of a job on the head's own disk; ours outlives the head."""
    quoted = shlex.quote(str(log))
    script = shlex.quote(str(folder / "script.sh"))
    return f"echo mnrun: the log of this job is {quoted}; exec bash {script} >> {quoted} 2>&1"


def _job(answer: Answer) -> dict[str, Any] | None:
    """The job in an answer; None if there is none, or if the answer has not the form of one."""
    job = parse_object(answer.body) if answer.status == 200 else None
    if not job or "status" not in job or not isinstance(job.get("metadata") or {}, dict):
        return None
    return job


def _is_live(job: dict[str, Any]) -> bool:
    return _PHASES.get(str(job.get("status")), Phase.UNKNOWN).live


def _sign(job: dict[str, Any]) -> re.Match[str] | None:
    """Our mark in a job's metadata; None for a job of somebody else."""
    metadata = job.get("metadata")
    return MARK.fullmatch(str(metadata.get(_MARK))) if isinstance(metadata, dict) else None


def _stray(job: dict[str, Any], sign: re.Match[str], head_job: str) -> Stray:
    name = str(job.get("submission_id") or "")
    return Stray(
        JobRef(name, head_job=head_job),
        name,
        str(job["status"]),
        fingerprint=sign.group("fp"),
        number=int(sign.group("number")),
        token=sign.group("token"),
        submitted=_seconds(job.get("start_time")),
    )


def _observation(job: dict[str, Any], log: str) -> Observation:
    state = str(job["status"])
    phase = _PHASES.get(state, Phase.UNKNOWN)
    exit_code = job.get("driver_exit_code") if phase.ended else None
    # The message repeats an exit code, in a sentence to which Ray appends the end of its log.
    words = [] if isinstance(exit_code, int) else str(job.get("message") or "").splitlines()
    return Observation(
        phase=phase,
        state=state,
        reason=words[0][:300] if words else "",
        exit_code=exit_code,
        start=_seconds(job.get("start_time")),
        end=_seconds(job.get("end_time")) if phase.ended else None,
        stdout=log,
        detail=f"Ray calls the job {state}" if phase is Phase.UNKNOWN else "",
    )


def _gone(reason: str) -> Observation:
    return Observation(Phase.GONE, GONE, f"{reason}, and its end was not recorded")


def _seconds(milliseconds: Any) -> float | None:
    # 0 and nothing at all both mean: not yet.
    return milliseconds / 1000.0 if isinstance(milliseconds, int) and milliseconds else None
