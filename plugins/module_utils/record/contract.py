"""The interface between the stage logic and the schedulers' backends.

A stage is worked on in attempts; each attempt is one job of a scheduler (a Slurm job, a Ray job).
The ledger has a `Record` for each spec of a stage. The room `stage` decides and acts; a `Backend`
(`slurm/backend.py`, `ray/backend.py`) only carries out and reports.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Protocol, Sequence, Union

# States of an attempt that are ours, in addition to the scheduler's own.
INTENT = "INTENT"  # on disk before the submission; no job id yet
GONE = "GONE"  # the scheduler does not know the job any more, and its end was not recorded
ALLOCATION_OVER = "ALLOCATION_OVER"  # it ended with the allocation that it ran in
NOT_SUBMITTED = "NOT_SUBMITTED"  # an intent whose job never appeared


class Phase(str, Enum):
    """The meaning of a scheduler's state."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDING = "ending"  # its work is over, its nodes are not free yet
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    GONE = "gone"  # certainly not alive, but how it ended is recorded nowhere
    UNKNOWN = "unknown"  # no answer that can be trusted: neither success nor failure

    @property
    def live(self) -> bool:
        """The job waits, runs or is about to end."""
        return self in (Phase.QUEUED, Phase.RUNNING, Phase.ENDING)

    @property
    def ended(self) -> bool:
        """The job is certainly over, whatever the outcome."""
        return not self.live and self is not Phase.UNKNOWN


@dataclass(frozen=True)
class Observation:
    """One answer about one job. Times are epoch seconds."""

    phase: Phase
    state: str = ""  # the scheduler's own word: PENDING, COMPLETING, NODE_FAIL, STOPPED, …
    reason: str = ""
    exit_code: int | None = None  # 128 + N for a death by signal N
    start: float | None = None
    end: float | None = None
    nodes: str = ""
    stdout: str = ""
    stderr: str = ""
    detail: str = ""  # for UNKNOWN: why it is not known
    advice: str = ""  # for UNKNOWN that does not pass by waiting: what to do about it
    expected: float | None = None  # for QUEUED: when it starts by the scheduler's estimate
    why: str = ""  # `reason` in words, where that is known

    @property
    def known(self) -> bool:
        """False if the answer must not be used to decide anything."""
        return self.phase is not Phase.UNKNOWN


_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")


def is_job_id(text: str) -> bool:
    """True for what can be the id of a job, of Slurm or of Ray. Nothing else that a file names as
    one gets into a command line."""
    return _JOB_ID.fullmatch(text) is not None


class JobRef(NamedTuple):
    """A job as its scheduler identifies it."""

    job_id: str
    slurm_cluster: str = ""  # its name, where one Slurm has several
    head_job: str = ""  # of a Ray job: the Slurm job id of its head


class Found(NamedTuple):
    """The answer to "is there a job of this attempt?"."""

    sure: bool  # False: no trustworthy answer; `job` is None then
    job: JobRef | None = None
    detail: str = ""  # for not sure: why
    advice: str = ""  # for not sure, if waiting does not help: what to do about it


class Stray(NamedTuple):
    """A live job of this user that names a run and a stage, and that no record has as live."""

    job: JobRef
    name: str
    state: str  # the scheduler's own word
    fingerprint: str = ""  # the first 12 characters of its spec's; empty if the job does not say
    number: int = 0  # of its attempt; 0 likewise
    token: str = ""
    submitted: float | None = None  # epoch seconds


@dataclass
class Attempt:
    """One submission. `state` is INTENT, GONE or the scheduler's own word.

    Times are in seconds since the epoch.
    """

    number: int
    token: str
    name: str  # Slurm's job name, Ray's submission id
    intent_time: float
    phase: Phase = Phase.UNKNOWN
    job_id: str = ""
    slurm_cluster: str = ""  # of a Slurm job: the cluster's name, where there are several
    head_job: str = ""  # of a Ray job: the Slurm job id of its Ray cluster's head
    state: str = INTENT
    reason: str = ""
    exit_code: int | None = None
    start: float | None = None
    end: float | None = None
    nodes: str = ""
    stdout: str = ""
    stderr: str = ""
    first_step: int = 0  # newest complete checkpoint when it was submitted; 0: none
    last_step: int | None = None  # the same when it ended
    reached: int | None = None  # the last step that was trained, saved or not
    cancelled_by: str = ""  # who ended it with `mnrun cancel`; empty: no one
    lost_nodes: str = ""  # its failed nodes, separated by commas
    exclude: str = ""  # nodes that it must not use, likewise
    submitted_by: int | None = None  # the submitter's uid; None: not recorded
    submitted_on: str = ""  # ClusterName of the submitter's Slurm; empty: not known
    mount: str = ""  # where the file system of its results was mounted; empty: not known
    gpus: int = 0  # that its Slurm job holds; 0 also: not recorded
    time_limit: float | None = None  # of its job, in seconds; None: none, or not known
    shown: dict[str, Any] | None = None  # once it is over, the progress that its logs show
    others: dict[str, Any] = field(default_factory=dict)  # what a later mnrun wrote, kept as it is

    @property
    def job(self) -> JobRef:
        """Its job; without an id while there is none."""
        return JobRef(self.job_id, self.slurm_cluster, self.head_job)

    @job.setter
    def job(self, job: JobRef) -> None:
        self.job_id, self.slurm_cluster, self.head_job = job

    @property
    def settled(self) -> bool:
        """Its end is in the record: no scheduler needs to be queried about it again."""
        return self.phase.ended

    @property
    def log_paths(self) -> list[Path]:
        """Its logs, that of errors first; empty while it has no job."""
        return [Path(path) for path in dict.fromkeys((self.stderr, self.stdout)) if path]

    def seen(self, observation: Observation) -> Attempt:
        """A copy with what was observed. An unknown answer changes nothing."""
        if not observation.known:
            return self
        return replace(
            self,
            phase=observation.phase,
            state=observation.state,
            reason=observation.reason,
            exit_code=observation.exit_code,
            start=observation.start or self.start,
            end=observation.end or self.end,
            nodes=observation.nodes or self.nodes,
            stdout=observation.stdout or self.stdout,
            stderr=observation.stderr or self.stderr,
        )


@dataclass
class Record:
    """All that is known about one spec of one stage; ledger.py determines where it is."""

    stage: str
    kind: str  # whose jobs the attempts are: "slurm" or "ray"
    fingerprint: str
    spec: dict[str, Any]
    labels: dict[str, str] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    output: dict[str, Any] | None = None  # step, path, model, metrics of the finished work
    trainer: dict[str, Any] = field(default_factory=dict)  # what it writes, see trainer/words.py
    others: dict[str, Any] = field(default_factory=dict)  # what a later mnrun wrote, kept as it is

    def as_dict(self) -> dict[str, Any]:
        """All that is written to a file."""
        data = asdict(self)
        data["attempts"] = [{**one.pop("others"), **one} for one in data["attempts"]]
        return {**data.pop("others"), **data}

    @property
    def last(self) -> Attempt | None:
        """The newest attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def open_attempt(self) -> Attempt | None:
        """The attempt that may be alive, if any. Only the newest can be."""
        return self.last if self.last and not self.last.settled else None


class CheckpointRule(NamedTuple):
    """Where a stage's checkpoints are, and what makes one complete."""

    path: Path
    parts: list[str]  # sub-folders of a step that hold shards; [] means the step itself
    hf: bool  # the result must include the Hugging Face format
    step_bytes: int = 0  # approximate size of one checkpoint; 0: not known
    kept: int = 1  # how many there will be at most
    last_step: int = 0  # the last step that the trainer was given; 0: none
    trainer: Mapping[str, Any] = {}


class ManifestRule(NamedTuple):
    """A stage's result is a folder with a manifest that matches it; see manifest.py."""

    path: Path


ResultRule = Union[CheckpointRule, ManifestRule, None]  # None: the stage leaves no result


class Consent(NamedTuple):
    """What a user has to agree to before it begins."""

    set_aside: bool = True  # finished work of other options may be moved aside
    gpu_hours: float = 0.0  # as many may begin; 0: any number
    gpus: int = 0  # of the stage
    followers: Sequence[str] = ()  # stages whose finished work counts as well


ANY = Consent()


@dataclass(frozen=True)
class Request:
    """What a user requests of a stage; the same for each scheduler."""

    run_dir: Path
    stage: str
    kind: str
    name: str  # base of the job's name
    spec: dict[str, Any]
    spec_before: dict[str, Any] = field(default_factory=dict)  # as an earlier version wrote it
    labels: dict[str, str] = field(default_factory=dict)
    directories: list[Path] = field(default_factory=list)
    checkpoints: CheckpointRule | None = None
    manifest: ManifestRule | None = None
    trainer: dict[str, Any] = field(default_factory=dict)  # what it writes, see trainer/words.py
    service: bool = False  # a job without a result (a Ray cluster): once over, it is started again
    replace: bool = False
    max_attempts: int = 3
    gpus: int = 0  # that its Slurm job holds
    time_limit: float | None = None  # of its job, in seconds; None: the site's
    gpu_hours_max: float = 0.0  # of the whole run; 0: no bound
    consent: Consent = ANY

    @property
    def rule(self) -> ResultRule:
        """What proves the result."""
        return self.checkpoints or self.manifest

    @property
    def aim(self) -> str:
        """What an attempt has to produce, for messages."""
        return "result" if self.manifest else "checkpoint"


class Backend(Protocol):
    """One scheduler, for one job. It never decides, never touches the ledger, and never waits
    without a deadline. `folder` is the record's folder on the shared file system."""

    noun: str  # "job", "Ray job": for messages
    quiet_window: float  # seconds after an intent in which its job may still appear

    def attempt_name(self, base: str, fingerprint: str, number: int) -> str:
        """The unique name of the job of an attempt."""
        ...

    def files(self, folder: Path, attempt: Attempt) -> dict[str, str]:
        """Name -> text of every file that must be in `folder` before the submission. Pure."""
        ...

    def check(self, folder: Path, attempt: Attempt) -> float | None:
        """Find out without submitting whether it would be accepted, and when it would start, in
        epoch seconds; None if that is not known. Raises Rejected or Unknown."""
        ...

    def submit(self, folder: Path, attempt: Attempt) -> JobRef:
        """Submit. Raises Rejected (certainly not submitted) or Uncertain (perhaps submitted)."""
        ...

    def find(self, folder: Path, attempt: Attempt) -> Found:
        """Look for the job of an attempt whose id is not known, by name and token."""
        ...

    def observe(self, folder: Path, attempt: Attempt) -> Observation:
        """The state of an attempt whose job id is known. Never raises for lack of an answer."""
        ...

    def slurm_name(self) -> str:
        """ClusterName of the Slurm that this host uses; empty if it is not known."""
        ...

    def live_jobs(self, base: str) -> list[Stray]:
        """This user's live jobs that name the backend's run and stage, with or without a record.
        `base`: the base of their names. Raises Unknown."""
        ...

    def stop(self, attempt: Attempt, signal: str) -> None:
        """Ask the job to end: with `signal` if not empty, else cancel it. Does not wait."""
        ...

    def enclosing_end(self, attempt: Attempt) -> Observation | None:
        """How the job ended in which this one ran (Ray: its cluster's); None if there is no such
        job, if it is alive, or if that is unknown."""
        ...

    def lost_nodes(self, attempt: Attempt) -> list[str]:
        """The nodes of an attempt that are down or do not respond; none if that is unknown."""
        ...

    def spare(self, nodes: list[str]) -> list[str]:
        """Those of `nodes` that the next job can do without: none unless others are free."""
        ...
