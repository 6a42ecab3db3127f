"""Stages inside an allocation: processes on its first node, each in place of a batch job.

The script is the same, with the environment that the allocation's own batch script has. Its id
(record/inside.py) belongs to its process, which writes down who it is before the script begins.
Slurm says whether the allocation lives. Whether the process does says the kernel of its node, and
to other hosts what the stage wrote; the relay, which is on that node, records the end. A stage is
over only once no step is left in the allocation that it may have started.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ..base.clock import Deadline
from ..base.errors import Rejected, Uncertain, Unknown
from ..base.files import make_directory
from ..base.presence import read_text
from ..base.sessions import OWN_START, begin, processes
from ..record.contract import ALLOCATION_OVER, GONE, Attempt, JobRef, Observation, Phase
from ..record.inside import new_id, slurm_job
from ..record.job_report import claims, read_end
from ..record.mark import MARK, names_run
from ..record.witness import other_slurm, still_writing, unseen
from .allocation import Allocation
from .client import SlurmClient
from .last_words import told_by_log
from .nodelist import names_in
from .nodes import lost_nodes
from .parse import Row

OWN_ID = '"$MNRUN_JOB"'  # shell code
_SLACK = 300.0  # seconds that two hosts' clocks may differ
_BEGIN = 20.0  # seconds for a process to write down who it is
_CLEAR = 90.0  # seconds for steps to end, and for nodes to respond
_AGAIN = 2.0
_GRACE = 35.0  # seconds for a stage to end by itself: its services alone take up to 20
_PAUSE = 0.2
_TOGETHER = 90.0  # seconds before the allocation's end in which its processes are ended
_LIMITS = ("TIMEOUT", "DEADLINE")
_LITTLE = 0.8  # of the allocation's time: with all of it, a stage may get further
_BY_SLURM = (*_LIMITS, "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "OUT_OF_MEMORY")

# Arguments: the run's folder, the file to write, the script.
_START = (
    'cd "$1" && printf "%s %s %s %s\\n" "${SLURMD_NODENAME:-$(uname -n)}" "$(uname -n)" "$$" '
    f'"{OWN_START}" > "$2.part" && mv "$2.part" "$2" && exec bash "$3"'
)
# Arguments: the process and its start; the signal, or nothing to end all of its session; for how
# many half seconds it may end by itself.
_STOP = r"""
begun=$(sed 's/.*) //' "/proc/$1/stat" 2> /dev/null | cut -d' ' -f20)
if [ "${begun:-$2}" != "$2" ]; then exit 0; fi
if [ -n "$3" ]; then kill -s "$3" "$1" 2> /dev/null; exit 0; fi
leader=$1
left() { # the session's processes
  for one in /proc/[0-9]*; do
    line=
    { IFS= read -r -d '' line < "$one/stat"; } 2> /dev/null
    set -- ${line##*) }
    if [ "${4:-}" = "$leader" ] && [ "$1" != Z ]; then echo "${one#/proc/}"; fi
  done
}
over() { # ends this when nothing is left, within this number of half seconds
  for i in $(seq "$1"); do
    if [ -z "$(left)" ]; then exit 0; fi
    sleep 0.5
  done
}
kill -s TERM -- "-$leader" 2> /dev/null
over "$4"
# The leader records how the others ended.
for one in $(left); do
  if [ "$one" != "$leader" ]; then kill -s KILL "$one" 2> /dev/null; fi
done
over 10
kill -s KILL $(left) 2> /dev/null || true
"""


class Process(NamedTuple):
    """Who a stage's process is."""

    node: str  # Slurm's name
    host: str  # the kernel's
    pid: int
    start: int  # in the kernel's ticks since the boot

    @property
    def here(self) -> bool:
        """Whether this host can see it."""
        return self.host == os.uname().nodename

    @property
    def alive(self) -> bool:
        """Whether anything of it is left; on its own host."""
        return bool(processes(self.pid, self.start))


@dataclass(frozen=True)
class Inside:
    """Stages of one run in its allocations."""

    client: SlurmClient
    run_dir: Path

    def submit(self, held: Allocation, folder: Path, attempt: Attempt, job: JobRef) -> None:
        """Start the script in `folder` as `job`, with its logs where `attempt` has them.

        Raises:
            Rejected: it was not started; with `leaves`, because the allocation is of no use, with
                `unknown`, because Slurm does not say whether it is.
            Uncertain: it may have been.
        """
        self._require_whole(held)
        for path in attempt.log_paths:
            make_directory(path.parent)
        process = self._begin(held, folder, attempt, job)
        deadline = Deadline(self.client.clock, _BEGIN)
        while _process(_path(folder, job.job_id)) is None:
            if deadline.over() or process.poll() is not None:
                raise Uncertain(f"Process {process.pid} has not begun the script in {folder}.")
            deadline.pause(_PAUSE)

    def _begin(
        self, held: Allocation, folder: Path, attempt: Attempt, job: JobRef
    ) -> subprocess.Popen[bytes]:
        arguments = (str(self.run_dir), str(_path(folder, job.job_id)), str(folder / "script.sh"))
        command = ["/bin/bash", "-c", _START, "bash", *arguments]
        environment = {**held.environment, "MNRUN_JOB": job.job_id}
        try:
            return begin(command, environment, attempt.stdout, attempt.stderr, 0o644)
        except OSError as error:
            raise Rejected(f"The script could not be started: {error}.") from error

    def _require_whole(self, held: Allocation) -> None:
        """Raise Rejected unless all nodes are there, with nothing left on them."""
        deadline = Deadline(self.client.clock, _CLEAR)
        while True:
            lost = lost_nodes(self.client, held.nodes, [])
            steps = self.client.steps(held.job)
            shared = self._others(held.job)
            if not lost and (steps == [] or shared):
                return  # beside another stage, whose steps they are, its own wait for their end
            if deadline.over():
                raise _of_no_use(held, lost, steps)
            self._end_steps([] if shared else steps or [])
            deadline.pause(_AGAIN)

    def observe(self, folder: Path, attempt: Attempt) -> Observation:
        """What is known of a stage that was started in an allocation."""
        around = self._around(folder, attempt)
        start = _begun(folder, attempt)
        if around.phase in (Phase.UNKNOWN, Phase.ENDING, Phase.QUEUED):
            phase = Phase.ENDING if around.phase is Phase.QUEUED else around.phase
            return replace(around, phase=phase, start=start, exit_code=None, expected=None)
        if around.phase is Phase.RUNNING:
            return replace(self._within(folder, attempt, around), start=start, nodes=around.nodes)
        return replace(_ended_with(folder, attempt, around), start=start, nodes=around.nodes)

    def _within(self, folder: Path, attempt: Attempt, around: Observation) -> Observation:
        """How it is, in an allocation that is alive."""
        process = _process(_path(folder, attempt.job_id))
        if process and around.nodes and process.node not in names_in(around.nodes):
            return _over(attempt, "was started again on other nodes")
        if process is None or not process.here:  # the steps may be those of the next stage by now
            return _own_end(folder, attempt) or Observation(Phase.RUNNING, "RUNNING")
        if process.alive:
            ending = read_end(folder, attempt) is not None
            return _ENDING if ending else Observation(Phase.RUNNING, "RUNNING")
        steps = self.client.steps(slurm_job(attempt.job_id))
        if steps is None:
            return Observation(Phase.UNKNOWN, detail="Slurm does not list the allocation's steps")
        if steps and not self._others(slurm_job(attempt.job_id), attempt.job_id):
            self._end_steps(steps)
            return _ENDING
        return _own_end(folder, attempt) or self._killed(folder, attempt, around)

    def _killed(self, folder: Path, attempt: Attempt, around: Observation) -> Observation:
        begun = _begun(folder, attempt)
        if begun and around.start and begun < around.start:
            return _over(attempt, "was started again")
        now = self.client.clock.now()
        return Observation(Phase.FAILED, "FAILED", "its process was killed", 137, end=now)

    def _others(self, job: str, but: str = "") -> bool:
        """Whether another stage of the run is alive in the same allocation, whose steps they may
        be."""
        names = f".mnrun/*/*/process-{job}.*"
        found = [path for path in self.run_dir.glob(names) if path.suffix != ".part"]
        others = [_process(path) for path in found if path.name != f"process-{but}"]
        return any(other.here and other.alive for other in others if other)

    def _end_steps(self, steps: list[str]) -> None:
        for step in steps:
            self.client.cancel_step(step)

    def stop(self, attempt: Attempt, signal: str) -> None:
        """Signal the script, or end all of it. Raises Unknown if that cannot be done from here."""
        job = slurm_job(attempt.job_id)
        found = next(iter(self.run_dir.glob(f".mnrun/*/*/process-{attempt.job_id}")), None)
        process = _process(found) if found else None
        if found is None or process is None:
            what = f"Which process {attempt.job_id} is, is not known."
            raise Unknown(f"{what} To end its allocation: scancel {job}")
        who, patience = (str(process.pid), str(process.start)), str(round(2 * _GRACE))
        words = ["bash", "-c", _STOP, "bash", *who, signal, patience]
        problem = self.client.do_in(job, "" if process.here else process.node, words)
        # What asks is a step, too: it may be ended with those of the stage, or with the allocation.
        if not problem or read_end(found.parent, attempt):
            return
        rows = self.client.show(job).rows
        if rows is None or any(row.phase is Phase.RUNNING for row in rows):
            raise Unknown(f"{attempt.job_id} could not be stopped: {problem}")

    def _around(self, folder: Path, attempt: Attempt) -> Observation:
        """The allocation, by Slurm's word."""
        job, cluster = slurm_job(attempt.job_id), attempt.slurm_cluster
        queued = [row for row in self.client.queue(cluster).rows or [] if row.job_id == job]
        if queued and queued[0].phase.live and self._is_ours(queued[0]):
            return _seen(queued[0])
        doubt = other_slurm(folder, attempt, self.client.name)
        if doubt:
            return doubt.observation
        shown, past = self.client.show(job, cluster), None
        row = _own(shown.rows, job, attempt)
        if row is None or row.phase is Phase.UNKNOWN:
            past = self.client.history([f"--jobs={job}"], cluster)
            row = _own(past.rows, job, attempt)
        if row and row.phase is not Phase.UNKNOWN:
            return _seen(row)
        if shown.rows is None or (past and past.rows is None):
            return Observation(Phase.UNKNOWN, detail=shown.error or (past.error if past else ""))
        now = self.client.clock.now()
        doubt = unseen(folder, attempt, self.client.name) or still_writing(folder, attempt, now)
        if doubt:
            return doubt.observation
        log = self.run_dir / "relay" / "relay.log"  # of the allocation (roles/relay)
        return told_by_log(Observation(Phase.GONE, GONE), [log], job)

    def _is_ours(self, row: Row) -> bool:
        """False where Slurm may have given the id to a job that is not of this run."""
        sign = MARK.fullmatch(row.comment)
        return bool(sign and names_run(sign, self.run_dir))


_ENDING = Observation(Phase.ENDING, "COMPLETING")


def _of_no_use(held: Allocation, lost: list[str], steps: list[str] | None) -> Rejected:
    """Why nothing begins in an allocation."""
    where = f"the allocation (job {held.job})"
    if lost:
        return Rejected(f"{', '.join(lost)} of {where} does not respond.", leaves=True)
    if steps is None:
        return Rejected(f"Slurm does not list the steps in {where}.", unknown=True)
    return Rejected(f"Steps are left in {where}.", leaves=True)


def started_as(allocation: Allocation) -> JobRef:
    """The id of the next stage in an allocation."""
    return JobRef(new_id(allocation.job))


def _path(folder: Path, job_id: str) -> Path:
    return folder / f"process-{job_id}"


def _process(path: Path) -> Process | None:
    words = (read_text(path) or "").split()
    if len(words) != 4 or not (words[2].isdecimal() and words[3].isdecimal()):
        return None
    return Process(words[0], words[1], int(words[2]), int(words[3]))


def _begun(folder: Path, attempt: Attempt) -> float | None:
    own = (attempt.number, attempt.token)
    return next((time for number, token, time in claims(folder) if (number, token) == own), None)


def _own_end(folder: Path, attempt: Attempt) -> Observation | None:
    ended = read_end(folder, attempt)
    return replace(ended, reason="") if ended else None


def _own(rows: list[Row] | None, job: str, attempt: Attempt) -> Row | None:
    """The allocation's own row: Slurm uses ids again."""
    latest = attempt.intent_time + _SLACK
    fitting = (row for row in rows or [] if row.job_id == job and (row.submit or 0.0) <= latest)
    return next(fitting, None)


def _seen(row: Row) -> Observation:
    start, end = row.start, row.end if row.phase.ended else None
    return Observation(row.phase, row.state, row.reason, row.exit_code, start, end, row.nodes)


def _ended_with(folder: Path, attempt: Attempt, around: Observation) -> Observation:
    """How it ended, now that its allocation has."""
    ended = _own_end(folder, attempt)
    if ended and _by_itself(ended, around):
        return ended
    told = around.phase is Phase.CANCELLED or around.state in _BY_SLURM
    if told and not (around.state in _LIMITS and _had_little(_begun(folder, attempt), around)):
        return replace(around, exit_code=None)
    return replace(_over(attempt, f"ended as {around.state}"), end=around.end)


def _over(attempt: Attempt, how: str) -> Observation:
    why = f"its allocation, job {slurm_job(attempt.job_id)}, {how}"
    return Observation(Phase.FAILED, ALLOCATION_OVER, why)


def _by_itself(ended: Observation, around: Observation) -> bool:
    """Whether what it wrote down at its end is about its own work. What the end of the allocation
    killed may have written down how it was killed."""
    if Phase.SUCCEEDED in (ended.phase, around.phase) or around.phase is Phase.GONE:
        return True
    return bool(ended.end and around.end and around.end - ended.end > _TOGETHER)


def _had_little(begun: float | None, around: Observation) -> bool:
    """Whether a stage had only a part of the time for which the allocation was there."""
    if begun is None or around.start is None or around.end is None:
        return True
    return around.end - begun < _LITTLE * (around.end - around.start)
