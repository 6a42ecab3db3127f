"""What `mnrun gc` finds and ends, with a fake Slurm."""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base import presence
from ansible_collections.mnrun.train.plugins.module_utils.base.clock import Clock
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Unknown
from ansible_collections.mnrun.train.plugins.module_utils.base.fingerprint import fingerprint
from ansible_collections.mnrun.train.plugins.module_utils.base.process import Result
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    GONE,
    Attempt,
    Phase,
    Record,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.ledger import Ledger
from ansible_collections.mnrun.train.plugins.module_utils.runs.leftover_folders import Folders
from ansible_collections.mnrun.train.plugins.module_utils.runs.leftovers import end, find
from ansible_collections.mnrun.train.plugins.module_utils.slurm.client import SlurmClient

from tests.helpers.ray_heads import publish_head

HEADER = "JOBID|STATE|REASON|START_TIME|NODELIST|NAME|COMMENT"
NAME = "a\n9|RUNNING|None|1|n1|b"  # of some other job of the user
SPEC = {"stage": "ray", "sbatch": {"partition": "gpu", "nodes": 3, "account": ""}}
KEY = fingerprint(SPEC)
PROGRAM = (
    Path(__file__).parents[3] / "roles" / "ray_cluster" / "files" / "cluster_leftovers.py"
).read_text()


DEAD = "its job is dead"


# Of a Slurm without accounting that has forgotten each job.
ANSWERS: dict[tuple[str, ...], Result] = {
    ("scontrol", "show", "config"): Result(0, "ClusterName             = here\n", ""),
    ("scontrol", "show", "job"): Result(1, "", "slurm_load_jobs error: Invalid job id specified"),
    ("sacct", "-X", "-P"): Result(1, "", "Slurm accounting storage is disabled"),
}


class Site:
    """squeue, scancel and srun, with a table of jobs and folders on nodes."""

    def __init__(self) -> None:
        self.jobs: dict[str, str] = {}  # id -> comment
        self.folders: dict[str, list[str]] = {}  # node -> paths
        self.stubborn: set[str] = set()
        self.calls: list[list[str]] = []
        self.answers = True

    def __call__(self, command: list[str], seconds: float, stdin: str) -> Result:
        assert seconds > 0
        self.calls.append(command)
        if command[0] == "squeue":
            bar = command[-1].split("%T")[0][2:]
            lines = [HEADER.replace("|", bar)]
            lines.append(bar.join(["5", "RUNNING", "None", "1", "n1", NAME, "(null)"]))
            for job, text in self.jobs.items():
                lines.append(bar.join([job, "RUNNING", "None", "1", "n1", "ray-1", text]))
            return (
                Result(0, "\n".join([*lines, ""]), "")
                if self.answers
                else Result(1, "", "no answer")
            )
        if command[0] == "scancel":
            if command[-1] not in self.stubborn:
                del self.jobs[command[-1]]
            return Result(0, "", "")
        if tuple(command[:3]) in ANSWERS:
            return ANSWERS[tuple(command[:3])]
        node = os.uname().nodename
        if command[0] == "srun":
            node = next(word[11:] for word in command if word.startswith("--nodelist="))
            if node == "busy":
                return Result(1, "", "srun: error: Unable to allocate resources")
        else:
            assert command[0] == sys.executable
        paths = self.folders.get(node, [])
        if command[-2] == "remove":
            self.folders[node] = []
        return Result(0, "\n".join(["Welcome to the cluster", *paths]), "")


class NoTime(Clock):
    """A clock in which waiting is all that takes time."""

    def __init__(self) -> None:
        self.time = 0.0

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "a run"
    folder.mkdir()
    return folder


def comment(run: Path, token: str) -> str:
    return f"mnrun run={run} stage=ray fp={KEY[:12]} attempt=1 token={token}"


def record(run: Path, *attempts: Attempt) -> Path:
    """Write a ledger; returns the record's folder."""
    ledger = Ledger(run, "ray", Clock())
    ledger.save(Record("ray", "slurm", KEY, SPEC, attempts=list(attempts)))
    return ledger.folder(KEY)


def attempt(job_id: str, phase: Phase = Phase.RUNNING, nodes: str = "") -> Attempt:
    return Attempt(
        1, f"t{job_id}", "ray-1", 1.0, phase=phase, job_id=job_id, state="RUNNING", nodes=nodes
    )


def look(site: Site, run: Path) -> tuple[list[str], list[str]]:
    clock = NoTime()
    client = SlurmClient(site, clock)
    found = find(run, client, Folders(site, PROGRAM, "/tmp"), clock)
    return [item.line for item in found.leftovers], found.unsure


def test_nothing_is_left_of_a_run_that_lives(site: Site, run_dir: Path) -> None:
    folder = record(run_dir, attempt("7"))
    publish_head(folder, "7")
    (folder / "token-7").write_text("secret")
    site.jobs = {"7": comment(run_dir, "t7"), "8": "somebody's own", "9": ""}
    assert look(site, run_dir) == ([], [])


def test_what_no_ledger_has_open_is_found(site: Site, run_dir: Path) -> None:
    folder = record(run_dir, attempt("7", Phase.FAILED))
    publish_head(folder, "6")
    (folder / "token-6").write_text("secret")
    site.jobs = {"7": comment(run_dir, "t7"), "9": comment(run_dir, "other")}
    site.folders = {os.uname().nodename: ["/tmp/mnrun-3-0a1b2c"]}
    lines, unsure = look(site, run_dir)
    assert lines[:2] == [
        f"job 7: its run {run_dir} has it as RUNNING",
        f"job 9: its run {run_dir} has no record of it",
    ]
    assert sorted(lines[2:]) == [
        f"file {folder}/head.json: job 6 is over",
        f"file {folder}/token-6: job 6 is over",
        f"folder /tmp/mnrun-3-0a1b2c on {os.uname().nodename}: {DEAD}",
    ]
    assert unsure == []


def test_the_nodes_of_the_last_clusters_are_looked_at_by_srun(site: Site, run_dir: Path) -> None:
    record(run_dir, attempt("7", Phase.FAILED, "n[1-2],busy"))
    site.folders = {"n2": ["/tmp/mnrun-7-0a1b2c"]}
    lines, unsure = look(site, run_dir)
    assert lines == ["folder /tmp/mnrun-7-0a1b2c on n2: its job is dead"]
    assert unsure == ["node busy could not be examined: srun: error: Unable to allocate resources"]
    srun = next(call for call in site.calls if call[0] == "srun")
    assert srun[:2] == ["srun", "--partition=gpu"]
    assert "--nodes=3" not in srun
    assert "--nodes=1" in srun


def test_the_nodes_of_a_training_are_looked_at_with_its_own_options(
    site: Site, run_dir: Path
) -> None:
    ledger, spec = Ledger(run_dir, "sft", Clock()), {"stage": "sft"}
    ended = attempt("7", Phase.FAILED, "n2")
    ledger.save(Record("sft", "slurm", fingerprint(spec), spec, attempts=[ended]))
    script = "#!/bin/bash\n#SBATCH --partition=big\n#SBATCH --nodes=2\n#SBATCH --account=team\n"
    (ledger.folder(fingerprint(spec)) / "script.sh").write_text(script)
    site.folders = {"n2": ["/tmp/mnrun-7-0a1b2c"]}
    assert look(site, run_dir)[0] == ["folder /tmp/mnrun-7-0a1b2c on n2: its job is dead"]
    srun = next(call for call in site.calls if call[0] == "srun")
    assert srun[1:4] == ["--partition=big", "--account=team", "--nodelist=n2"]


def test_what_cannot_be_judged_is_told_and_left(site: Site, run_dir: Path) -> None:
    folder = record(run_dir, attempt("7"))
    (folder / "record.json").write_text("{")
    site.jobs = {"7": comment(run_dir, "t7"), "8": comment(Path("/nowhere/at/all"), "t8")}
    lines, unsure = look(site, run_dir)
    assert lines == []
    assert "job 7: The record" in unsure[0]
    assert unsure[1].startswith("job 8: the records of its run /nowhere/at/all cannot be seen here")
    assert unsure[2].startswith("folders on the nodes of its jobs: The record")


def unsure_alone(site: Site, run: Path) -> str:
    """What is reported; nothing may be found, so that nothing would be ended."""
    lines, unsure = look(site, run)
    assert lines == []
    return "\n".join(unsure)


@pytest.mark.parametrize("there", ["", "a run", "a run/.mnrun", "a run/.mnrun/sft"])
def test_a_run_that_cannot_be_seen_here_keeps_its_job(
    site: Site, tmp_path: Path, there: str
) -> None:
    """A file system that is not mounted leaves an empty folder, or another one's content."""
    (tmp_path / there).mkdir(parents=True, exist_ok=True)
    site.jobs = {"8": comment(tmp_path / "a run", "t8")}
    assert "To end it: scancel 8" in unsure_alone(site, tmp_path / "mine")


def test_a_folder_that_cannot_be_read_is_reported(
    site: Site, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = record(run_dir, attempt("7", Phase.FAILED))
    (folder / "token-7").write_text("secret")
    site.jobs = {"7": comment(run_dir, "t7")}

    def stale(path: Path) -> BinaryIO:
        raise OSError(errno.ESTALE, "Stale file handle", str(path))

    monkeypatch.setattr(presence, "opened", stale)
    assert unsure_alone(site, run_dir).count("Stale file handle") == 3


def test_a_job_that_lives_though_its_record_says_gone_is_left(site: Site, run_dir: Path) -> None:
    gone = attempt("7", Phase.GONE)
    gone.state = GONE
    folder = record(run_dir, gone)
    (folder / "token-7").write_text("secret")
    site.jobs = {"7": comment(run_dir, "t7")}
    assert "job 7: it is RUNNING, and its run" in unsure_alone(site, run_dir)


def test_files_of_a_colleagues_cluster_are_left(
    site: Site, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = record(run_dir, attempt("7", Phase.FAILED))
    publish_head(folder, "7")
    (folder / "token-7").write_text("secret")
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    assert unsure_alone(site, run_dir).count(f"it belongs to another user (uid {mine})") == 2


def test_files_of_a_job_that_another_slurm_runs_are_left(site: Site, run_dir: Path) -> None:
    """The queue here does not list it, and its end is recorded nowhere."""
    folder = record(run_dir, attempt("7"))
    publish_head(folder, "7")
    (folder / "token-7").write_text("secret")
    (folder / "token-6").write_text("secret")
    text = unsure_alone(site, run_dir)
    assert text.count("job 7 may be alive: this Slurm does not show it") == 3


@pytest.mark.parametrize(
    ("uid", "cluster", "left"),
    [
        (os.geteuid(), "here", ""),
        (os.geteuid(), "elsewhere", "submitted to the Slurm cluster elsewhere"),
        (os.geteuid() + 1, "here", "Slurm may hide it"),
    ],
)
def test_a_job_that_is_not_seen_is_over_only_for_its_own_user_and_slurm(
    site: Site, run_dir: Path, uid: int, cluster: str, left: str
) -> None:
    of = replace(attempt("7"), submitted_by=uid, submitted_on=cluster)
    (record(run_dir, of) / "token-7").write_text("secret")
    lines, unsure = look(site, run_dir)
    assert len(lines) == (0 if left else 1)
    assert left in "".join(unsure)


def test_files_of_a_record_that_is_missing_are_left(site: Site, run_dir: Path) -> None:
    folder = record(run_dir, attempt("7"))
    (folder / "token-7").write_text("secret")
    (folder / "record.json").unlink()
    assert "its record is missing" in unsure_alone(site, run_dir)


def test_without_an_answer_of_slurm_nothing_is_said(site: Site, run_dir: Path) -> None:
    site.answers = False
    with pytest.raises(Unknown, match="no answer"):
        look(site, run_dir)


def test_it_ends_what_it_found_and_sees_that_it_ended(site: Site, run_dir: Path) -> None:
    folder = record(run_dir, attempt("7", Phase.FAILED, "n1"))
    (folder / "token-6").write_text("secret")
    site.jobs = {"8": comment(run_dir, "other"), "9": "somebody's own"}
    site.folders = {"n1": ["/tmp/mnrun-3-0a1b2c"]}
    clock = NoTime()
    client, folders = SlurmClient(site, clock), Folders(site, PROGRAM, "/tmp")
    found = find(run_dir, client, folders, clock)
    assert len(found.leftovers) == 3
    assert end(found, client, folders, clock) == []
    assert list(site.jobs) == ["9"]
    assert not (folder / "token-6").exists()
    assert look(site, run_dir) == ([], [])


def test_what_does_not_end_is_reported(site: Site, run_dir: Path) -> None:
    record(run_dir)
    site.jobs, site.stubborn = {"8": comment(run_dir, "other")}, {"8"}
    clock = NoTime()
    client, folders = SlurmClient(site, clock), Folders(site, PROGRAM, "/tmp")
    found = find(run_dir, client, folders, clock)
    assert [item.name for item in end(found, client, folders, clock)] == ["8"]
    assert clock.time >= 120
