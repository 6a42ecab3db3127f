"""Leftovers with mnrun's mark that no run owns: jobs, published heads and tokens, folders.

A job is marked by its comment, which names its run; the run owns it as long as that attempt is open
in its ledger. What cannot be classified (a damaged ledger, a file system that is not mounted here,
a job that this user or this Slurm cannot see) is reported and never ended.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from ..base.clock import Clock, Deadline
from ..base.errors import Damaged, Unknown
from ..record.contract import GONE
from ..record.ledger import Ledger
from ..record.mark import MARK
from ..slurm.client import SlurmClient
from ..slurm.parse import Row
from .leftover_files import judged_files
from .leftover_folders import Folders

_GONE_LIMIT = 120.0  # seconds for cancelled jobs to leave the queue
_PAUSE = 1.0


@dataclass(frozen=True)
class Leftover:
    """One thing. `place`: a node, for a folder; the run's folder, for a job."""

    kind: str  # "job", "file", "folder"
    name: str
    place: str
    why: str

    @property
    def line(self) -> str:
        """A line about it."""
        where = f" on {self.place}" if self.kind == "folder" else ""
        return f"{self.kind} {self.name}{where}: {self.why}"


@dataclass
class Found:
    """All that was found, and what could not be classified."""

    leftovers: list[Leftover] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)
    looked_at: set[str] = field(default_factory=set)  # nodes


def find(run_dir: Path, client: SlurmClient, folders: Folders, clock: Clock) -> Found:
    """Look at the jobs of this user, and at the files and nodes of the runs that they name and of
    `run_dir`.

    Raises:
        Unknown: Slurm does not answer.
    """
    rows = _live(client)
    found = Found()
    runs = {run_dir}
    for row in rows:
        mark = MARK.fullmatch(row.comment)
        if mark:
            runs.add(Path(mark.group("run")))
            _judge_job(row, mark, found, clock)
    for run in sorted(runs):
        _look_at_files(run, client, found, clock)
        _look_on_nodes(run, folders, found, clock)
    return found


def end(found: Found, client: SlurmClient, folders: Folders, clock: Clock) -> list[Leftover]:
    """Remove them and verify it. Returns those that still exist.

    Raises:
        Unknown: Slurm does not answer.
    """
    jobs = [item for item in found.leftovers if item.kind == "job"]
    for item in jobs:
        problem = client.cancel(item.name, "", "")
        if problem:
            raise Unknown(f"Job {item.name} could not be cancelled: {problem}")
    for item in found.leftovers:
        if item.kind == "file":
            Path(item.name).unlink(missing_ok=True)
    nodes = {item.place for item in found.leftovers if item.kind == "folder"}
    folders.remove(sorted(nodes))
    left = _until_gone({item.name for item in jobs}, client, clock)
    return [item for item in found.leftovers if _is_left(item, left, folders)]


def _is_left(item: Leftover, jobs: set[str], folders: Folders) -> bool:
    if item.kind == "job":
        return item.name in jobs
    if item.kind == "file":
        return Path(item.name).exists()
    return item.name in folders.stale(item.place)


def _until_gone(jobs: set[str], client: SlurmClient, clock: Clock) -> set[str]:
    deadline = Deadline(clock, _GONE_LIMIT)
    while True:
        left = jobs & {row.job_id for row in _live(client)}
        if not left or deadline.over():
            return left
        deadline.pause(_PAUSE)


def _live(client: SlurmClient) -> list[Row]:
    answer = client.queue()
    if answer.rows is None:
        raise Unknown(f"Slurm does not list the jobs: {answer.error}.")
    return [row for row in answer.rows if row.phase.live]


def _judge_job(row: Row, mark: re.Match[str], found: Found, clock: Clock) -> None:
    run, stage = Path(mark.group("run")), mark.group("stage")
    try:
        if not (run / ".mnrun" / stage).is_dir():
            # Its absence proves nothing: a file system may not be mounted on this host.
            found.unsure.append(
                f"job {row.job_id}: the records of its run {run} cannot be seen here (deleted, "
                f"moved, or on a file system that is not mounted). To end it: scancel {row.job_id}"
            )
            return
        record = Ledger(run, stage, clock).load(mark.group("fp"))
    except (Damaged, OSError) as error:
        found.unsure.append(f"job {row.job_id}: {_words(error)}")
        return
    attempts = record.attempts if record else []
    ours = next((one for one in attempts if one.token == mark.group("token")), None)
    if ours is None:
        why = f"its run {run} has no record of it"
    elif ours.state == GONE:
        found.unsure.append(
            f"job {row.job_id}: it is {row.state}, and its run {run} has it as {GONE}. To end it: "
            f"scancel {row.job_id}"
        )
        return
    elif ours.settled:
        why = f"its run {run} has it as {ours.state}"
    else:
        return
    found.leftovers.append(Leftover("job", row.job_id, str(run), why))


def _words(error: Damaged | OSError) -> str:
    if isinstance(error, Damaged):
        return error.message
    return f"{error.filename}: {error.strerror}"


def _look_at_files(run: Path, client: SlurmClient, found: Found, clock: Clock) -> None:
    """Published heads and tokens of jobs that are over."""
    try:
        judged = judged_files(run, client, clock)
    except OSError as error:
        found.unsure.append(f"the records of {run}: {_words(error)}")
        return
    for file in judged:
        if file.over:
            found.leftovers.append(Leftover("file", str(file.path), str(run), file.why))
        elif file.over is None:
            found.unsure.append(f"file {file.path}: {file.why}")


def _look_on_nodes(run: Path, folders: Folders, found: Found, clock: Clock) -> None:
    """Folders on this host and on the nodes of the run's last jobs."""
    try:
        nodes = folders.nodes_of(run, clock)
    except (Damaged, OSError) as error:
        found.unsure.append(f"folders on the nodes of its jobs: {_words(error)}")
        nodes = []
    for node in (folders.here, *nodes):
        if node in found.looked_at:
            continue
        found.looked_at.add(node)
        try:
            stale = folders.stale(node)
        except Unknown as error:
            found.unsure.append(error.message)
            continue
        why = "its job is dead"
        found.leftovers += [Leftover("folder", path, node, why) for path in stale]
