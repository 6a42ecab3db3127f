"""Leftovers with mnrun's mark that no run owns: jobs, published heads and tokens, folders.

A job is marked by its comment, which names its run; the run owns it as long as that attempt is open
in its ledger. What cannot be classified (a damaged ledger, a missing file system) is reported and
never ended.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from ..base.clock import Clock, Deadline
from ..base.errors import Damaged, Unknown
from ..base.files import names
from ..record.ledger import Ledger, stages
from ..record.ray_head import HEAD_FILE, read_head
from ..slurm.client import SlurmClient
from ..slurm.parse import Row
from .leftover_folders import Folders

_COMMENT = re.compile(
    r"mnrun run=(?P<run>/.*) stage=(?P<stage>[\w.-]+) fp=(?P<fp>[0-9a-f]{12}) "
    r"attempt=\d+ token=(?P<token>\w+)"
)
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
        mark = _COMMENT.fullmatch(row.comment)
        if mark:
            runs.add(Path(mark.group("run")))
            _judge_job(row, mark, found, clock)
    alive = {row.job_id for row in rows}
    for run in sorted(runs):
        found.leftovers += _stale_files(run, alive)
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
            Path(item.name).unlink()
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
    run = Path(mark.group("run"))
    if not run.parent.is_dir():
        found.unsure.append(f"job {row.job_id}: the folder {run.parent} of its run does not exist")
        return
    try:
        record = Ledger(run, mark.group("stage"), clock).load(mark.group("fp"))
    except Damaged as error:
        found.unsure.append(f"job {row.job_id}: {error.message}")
        return
    attempts = record.attempts if record else []
    ours = next((one for one in attempts if one.token == mark.group("token")), None)
    if ours is None:
        why = f"its run {run} has no record of it"
    elif ours.settled:
        why = f"its run {run} has it as {ours.state}"
    else:
        return
    found.leftovers.append(Leftover("job", row.job_id, str(run), why))


def _stale_files(run: Path, alive: set[str]) -> list[Leftover]:
    """Published heads and tokens of jobs that are over."""
    found = []
    for stage in stages(run):
        for key in names(run / ".mnrun" / stage):
            folder = run / ".mnrun" / stage / key
            for name in names(folder):
                job_id = _job_of(folder / name)
                if job_id and job_id not in alive:
                    path = str(folder / name)
                    found.append(Leftover("file", path, str(run), f"job {job_id} is over"))
    return found


def _job_of(path: Path) -> str:
    """The Slurm job of a published head or of a token; empty for any other file."""
    token = re.fullmatch(r"token-(\d+)", path.name)
    if token:
        return token.group(1)
    found = read_head(path.parent) if path.name == HEAD_FILE else None
    return found.head.job_id if found else ""


def _look_on_nodes(run: Path, folders: Folders, found: Found, clock: Clock) -> None:
    """Folders on this host and on the nodes of the run's last Ray clusters."""
    try:
        nodes = folders.nodes_of(run, clock)
    except Damaged as error:
        found.unsure.append(f"folders on the nodes of its Ray clusters: {error.message}")
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
        why = "its Ray cluster is dead"
        found.leftovers += [Leftover("folder", path, node, why) for path in stale]
