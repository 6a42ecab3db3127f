"""A Slurm at the process boundary, and a clock. An unknown command or option raises."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.mnrun.train.plugins.module_utils.base.clock import Clock
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Missing
from ansible_collections.mnrun.train.plugins.module_utils.base.process import Result
from ansible_collections.mnrun.train.plugins.module_utils.slurm.parse import (
    HISTORY_FIELDS,
    PHASE_OF,
)

NOW = 1_700_000_000.0
MIN_JOB_AGE = 300.0
PARTITION = "PartitionName=gpu Default=YES MaxNodes=UNLIMITED MaxTime=7-00:00:00 State=UP"
DOWN = Result(1, "", "slurm_load_jobs error: Unable to contact slurm controller")


class FakeClock(Clock):
    """Time that passes only by `sleep`, with events on the way."""

    def __init__(self) -> None:
        self.time = NOW
        self.events: list[tuple[float, Callable[[], None]]] = []

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time - NOW

    def sleep(self, seconds: float) -> None:
        end = self.time + max(seconds, 0.001)
        for event in sorted((e for e in self.events if e[0] <= end), key=lambda e: e[0]):
            self.events.remove(event)
            self.time = max(self.time, event[0])
            event[1]()
        self.time = end

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        self.events.append((self.time + seconds, event))


@dataclass
class FakeJob:
    job_id: str
    name: str
    comment: str
    work_dir: str
    submit: float
    state: str = "PENDING"
    reason: str = "None"
    code: str = "0:0"
    start: float | None = None
    end: float | None = None
    nodes: str = ""
    script: str = ""  # the path of a batch script
    launches: bool = True  # False: its node cannot start the script

    @property
    def ended(self) -> bool:
        return PHASE_OF[self.state.split()[0]].ended


@dataclass
class FakeSlurm:
    """Answers like Slurm 22.05 to what mnrun asks, and to nothing else."""

    clock: FakeClock
    jobs: list[FakeJob] = field(default_factory=list)
    calls: list[list[str]] = field(default_factory=list)
    accounting: bool = True
    accounting_down: bool = False
    has_sacct: bool = True
    comments_in_accounting: bool = True
    down: bool = False
    banner: str = ""
    unclean: list[Result] = field(default_factory=list)  # next sbatch: accepted, answered with this
    refusals: list[Result] = field(default_factory=list)  # next sbatch: not accepted
    nodes: int = 2
    node_states: dict[str, str] = field(
        default_factory=lambda: {"osk-gpu94": "idle", "osk-gpu95": "idle"}
    )
    first_id: int = 12
    name: str = "osk"  # ClusterName
    scontrol_denied: bool = False  # `scontrol show config`
    hides_jobs: bool = False  # as from another user, with PrivateData=jobs
    steps: list[str] | None = field(default_factory=list)  # that are alive; None: no answer
    ignores: frozenset[str] = frozenset()  # signals that jobs ignore; "" is scancel itself

    def __call__(self, command: list[str], seconds: float, stdin: str) -> Result:
        assert seconds > 0
        self.calls.append(command)
        answers: dict[str, Callable[[list[str]], Result]] = {
            "sbatch": self._sbatch,
            "squeue": self._squeue,
            "scontrol": self._scontrol,
            "sacct": self._sacct,
            "scancel": self._scancel,
            "sinfo": self._sinfo,
            "sacctmgr": self._sacctmgr,
        }
        if command == ["sbatch", "--help"]:
            return Result(0, "      --container-image=[USER@]IMAGE  of a plugin\n", "")
        if command[0] == "sbatch" and "--test-only" in command:
            return (
                self.refusals.pop(0) if self.refusals else Result(0, "", "sbatch: Job 1 to start")
            )
        if self.down and command[0] not in ("sacct", "sbatch"):
            return DOWN
        return answers[command[0]](command[1:])

    def count(self, tool: str) -> int:
        return sum(
            call[0] == tool and not {"--test-only", "--help"} & {*call} for call in self.calls
        )

    def _sbatch(self, arguments: list[str]) -> Result:
        if self.refusals:
            return self.refusals.pop(0)
        *options, script = arguments
        assert Path(script).read_text().startswith("#!/bin/bash\n")
        given = dict(option[2:].split("=", 1) for option in options if "=" in option)
        assert {"--parsable", "--no-requeue"} <= set(options)
        if self.down:
            return Result(1, "", "sbatch: error: Batch job submission failed: Unable to contact")
        job_id = str(self.first_id + len(self.jobs))
        texts = (given["job-name"], given["comment"], given["chdir"])
        self.jobs.append(FakeJob(job_id, *texts, self.clock.now(), script=script))
        if self.unclean:
            return self.unclean.pop(0)
        return Result(0, f"{self.banner}{job_id}\n", "")

    def _squeue(self, arguments: list[str]) -> Result:
        if arguments[:1] == ["--steps"]:
            assert arguments[2:] == ["-o", "%i"], arguments
            job = arguments[1].partition("=")[2]
            lines = ["STEPID", f"{job}.batch", f"{job}.extern", *(self.steps or [])]
            return DOWN if self.steps is None else Result(0, "\n".join(lines) + "\n", "")
        assert arguments[:5] == ["--all", "--me", "-t", "all", "-o"], arguments
        bar = arguments[5].split("%T")[0][2:]
        rows = [
            bar.join(
                [
                    *(job.job_id, job.state.split()[0], job.reason),
                    *(_time(job.start), job.nodes, job.name, job.comment),
                ]
            )
            for job in ([] if self.hides_jobs else self._remembered())
        ]
        head = bar.join(["JOBID", "STATE", "REASON", "START_TIME", "NODELIST", "NAME", "COMMENT"])
        return Result(0, self.banner + "\n".join([head, *rows]) + "\n", "")

    def _sacctmgr(self, arguments: list[str]) -> Result:
        assert arguments[:3] == ["-n", "-P", "show"], arguments
        return Result(1, "", "You are not running a supported accounting storage plugin")

    def _scontrol(self, arguments: list[str]) -> Result:
        if arguments == ["-a", "show", "partition", "-o"]:
            return Result(0, f"{self.banner}{PARTITION}\n", "")
        if arguments == ["show", "config"]:
            if self.scontrol_denied:
                return Result(1, "", "slurm_load_ctl_conf error: Access/permission denied")
            return Result(0, f"{self.banner}ClusterName             = {self.name}\n", "")
        assert arguments[:3] == ["show", "job", "-o"], arguments
        known = [] if self.hides_jobs else self._remembered()
        job = next((job for job in known if job.job_id == arguments[3]), None)
        if job is None:
            return Result(1, "", "slurm_load_jobs error: Invalid job id specified")
        return Result(
            0,
            f"{self.banner}JobId={job.job_id} JobName={job.name} UserId=u(1) "
            f"JobState={job.state.split()[0]} Reason={job.reason} ExitCode={job.code} "
            f"SubmitTime={job.submit:.0f} StartTime={_time(job.start)} EndTime={_time(job.end)} "
            f"NodeList={job.nodes or '(null)'} WorkDir={job.work_dir} Comment={job.comment} \n",
            "",
        )

    def _sacct(self, arguments: list[str]) -> Result:
        assert [*arguments[:2], *arguments[3:5]] == ["-X", "-P", "-o", HISTORY_FIELDS], arguments
        bar = arguments[2].partition("--delimiter=")[2]
        if not self.has_sacct:
            raise Missing("There is no sacct on login1.")
        if not self.accounting:
            return Result(1, "", "Slurm accounting storage is disabled")
        if self.accounting_down:
            return Result(1, "", "sacct: error: Problem talking to the database")
        jobs = [] if self.hides_jobs else self.jobs
        rows = [self._history(job, bar) for job in jobs if _selected(job, arguments[5:])]
        return Result(0, "\n".join([HISTORY_FIELDS.replace(",", bar), *rows]) + "\n", "")

    def _history(self, job: FakeJob, bar: str) -> str:
        comment = job.comment if self.comments_in_accounting else ""
        cells = [job.job_id, job.state, job.code, f"{job.submit:.0f}", _time(job.start)]
        work_dir = job.work_dir.replace('"', "`")  # as sacct 22.05 does
        return bar.join([*cells, _time(job.end), job.nodes, job.name, work_dir, comment])

    def _scancel(self, arguments: list[str]) -> Result:
        *options, job_id = arguments
        if self.steps and job_id in self.steps:
            self.steps.remove(job_id)
            return Result(0, "", "")
        signal = next((o.split("=")[1] for o in options if o.startswith("--signal=")), "")
        assert options == (["--batch", f"--signal={signal}"] if signal else []), options
        for job in self.jobs:
            if job.job_id == job_id and not job.ended and signal not in self.ignores:
                self.end(job, "COMPLETED" if signal else "CANCELLED by 2000")
        return Result(0, "", "")

    def _sinfo(self, arguments: list[str]) -> Result:
        if arguments[:3] == ["-a", "-h", "-N"]:
            names = [f"osk-gpu{94 + number}" for number in range(self.nodes)]
            lines = [f"{name}|gpu|64|2000000|gpu:8|idle\n" for name in names]
            return Result(0, self.banner + "".join(lines), "")
        assert arguments[:3] == ["-h", "-a", "-o"], arguments
        if arguments[3].startswith("%n|%T"):
            more = "|gpu" if arguments[3] == "%n|%T|%R" else ""
            rows = [f"{name}|{state}{more}" for name, state in self.node_states.items()]
            return Result(0, "\n".join(rows) + "\n", "")
        cells = {
            "%P": "gpu*",
            "%D": str(self.nodes),
            "%l": "7-00:00:00",
            "%N": "osk-gpu[94-95]",
            "%T": "idle",
            "%c": "64",
            "%m": "2000000",
            "%G": "gpu:8",
        }
        return Result(0, "|".join(cells[key] for key in arguments[3].split("|")) + "\n", "")

    def _remembered(self) -> list[FakeJob]:
        now = self.clock.now()
        return [job for job in self.jobs if not job.end or now - job.end < MIN_JOB_AGE]

    def run(self, job: FakeJob) -> None:
        job.state, job.start, job.nodes = "RUNNING", self.clock.now(), "osk-gpu[94-95]"

    def end(self, job: FakeJob, state: str, code: str = "0:0") -> None:
        """It ends, and a job that ends well has claimed its attempt before."""
        if state == "COMPLETED" and job.script and job.launches:
            _claim(job)
        job.state, job.code, job.end = state, code, self.clock.now()


def _claim(job: FakeJob) -> None:
    text = Path(job.script).read_text()
    found = re.search(
        r"MNRUN_RECORD=(.*) MNRUN_ATTEMPT=(\d+) MNRUN_TOKEN=(\w+)$", text, re.MULTILINE
    )
    if found is None:
        return
    claim = Path(job.script).with_name(f"start-{found.group(2)}.json")
    if not claim.exists():
        said = {"job_id": job.job_id, "token": found.group(3), "host": "n", "start": 1}
        claim.write_text(json.dumps(said))


def _selected(job: FakeJob, selection: list[str]) -> bool:
    if selection[0].startswith("--jobs="):
        return job.job_id == selection[0][7:]
    name, since, begin = selection
    assert (name[:7], since, begin[:3]) == ("--name=", "-S", "uts")
    return job.name == name[7:] and (job.end or job.submit) >= float(begin[3:])


def _time(value: float | None) -> str:
    return f"{value:.0f}" if value else "Unknown"
