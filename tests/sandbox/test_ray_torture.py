"""Ray clusters started and stopped in a row, and killed at random: nothing may be left of them.

Run by `make torture`, which prints the counts of docs/ray.md. MNRUN_TORTURE_STARTS and
MNRUN_TORTURE_KILLS set other numbers of rounds, MNRUN_TORTURE_SEED other moments.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from .ray_runs import NODES, Run

pytestmark = [pytest.mark.sandbox, pytest.mark.torture, pytest.mark.timeout(3600)]

STARTS = int(os.environ.get("MNRUN_TORTURE_STARTS", "50"))
KILLS = int(os.environ.get("MNRUN_TORTURE_KILLS", "20"))
SEED = int(os.environ.get("MNRUN_TORTURE_SEED", "20261125"))

# A word of its command line, and on which of the nodes.
VICTIMS = [
    ("cluster.py", 0),
    ("cluster_node.py", 0),
    ("cluster_node.py", 1),
    ("cluster_ray.py start", 0),
    ("cluster_ray.py start", 1),
    ("gcs_server", 0),
    ("raylet_socket_name", 0),
    ("raylet_socket_name", 1),
    ("dashboard.py", 0),
    ("srun --nodes=2", 0),
    ("slurm_script", 0),
    ("the whole job", 0),
]
LATEST = 14.0  # seconds after the submission at which somebody is killed


@dataclass
class Clusters:
    """One record, whose script is submitted again and again, as a new attempt would be."""

    run: Run
    script: str = ""
    job: str = ""
    ready: list[float] = field(default_factory=list)  # seconds from the job's start
    down: list[float] = field(default_factory=list)  # seconds from the word to the nodes being free
    leaks: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)

    def prepare(self) -> None:
        """Have a record by one ordinary start."""
        self.run.play("start", mnrun_gpus_per_node=1)
        self.script = self.run.run(f"ls {self.run.folder}/.mnrun/ray/*/script.sh")
        self.run.play("stop")

    @property
    def folder(self) -> str:
        return os.path.dirname(self.script)  # noqa: PTH120 - a path inside the sandbox

    def submit(self) -> None:
        log = f"{self.folder}/torture.out"
        self.run.run(f"rm -f {self.folder}/start-* {self.folder}/end-* {log}")
        line = f"sbatch --parsable --no-requeue --output={log} --chdir={self.run.folder}"
        self.job = self.run.run(f"{line} --job-name=torture {self.script}")

    def until_ready(self) -> None:
        shown = f'grep -l \'"job_id": "{self.job}"\' {self.folder}/head.json'
        self.run.sandbox.wait(shown, "^/", timeout=120)  # not grep's own complaint
        self.ready.append(float(self.run.head()["ready_seconds"]))

    def stop(self) -> None:
        """As `mnrun ray stop` does, without Ansible's own time."""
        begun = time.monotonic()
        self.run.run(f"scancel --batch --signal=USR1 {self.job}", check=False)
        self.until_over()
        self.down.append(time.monotonic() - begun)

    def until_over(self, seconds: float = 90) -> None:
        self.run.sandbox.wait("squeue -h -n torture -o %T", "^$", timeout=seconds)

    def kill(self, word: str, node: str) -> bool:
        """SIGKILL; whether there was somebody."""
        if word == "the whole job":
            self.run.run(f"scancel --full --signal=KILL {self.job}", check=False)
            return True
        mine = f"grep -lzs '^SLURM_JOB_ID={self.job}$' /proc/[0-9]*/environ | cut -d/ -f3"
        one = (
            f'for pid in $({mine}); do tr "\\0" " " < /proc/$pid/cmdline | grep -qF -- "{word}"'
            " && kill -9 $pid && echo killed; done; true"
        )
        return "killed" in self.run.sandbox.run(one, f"root@{node}", check=False)

    def count_leaks(self) -> None:
        """Everything that the job might have left, on both nodes."""
        for node in NODES:
            look = self.run.sandbox.run
            root = f"root@{node}"
            found = {
                "processes": f"grep -lzs '^SLURM_JOB_ID={self.job}$' /proc/[0-9]*/environ",
                "ports": "ss -ltnpH | grep -v -e sshd -e slurmd",
                "folders": "ls -d /tmp/mnrun-* /dev/shm/* 2> /dev/null",
            }
            for what, line in found.items():
                lines = look(f"{line}; true", root, check=False).splitlines()
                self.leaks[what] += len(lines)
        jobs = self.run.run("squeue -h -n torture")
        self.leaks["jobs"] += len(jobs.splitlines())
        files = self.run.run(f"ls {self.folder}/head.json {self.folder}/token-* 2> /dev/null; true")
        self.leaks["files"] += len(files.splitlines())

    def told(self) -> str:
        """The counts, for docs/ray.md."""
        names = ("processes", "ports", "folders", "jobs", "files")
        leaks = ", ".join(f"{name} {self.leaks[name]}" for name in names)
        parts = [f"{len(self.ready)} came up; left behind: {leaks}"]
        for name, values in (("ready", self.ready), ("down", self.down)):
            if values:
                parts.append(
                    f"{name} {statistics.median(values):.1f} s (at most {max(values):.1f})"
                )
        return "; ".join([*parts, f"ends {dict(self.ends)}"])


@pytest.fixture
def clusters(new_run: Any) -> Iterator[Clusters]:
    found = Clusters(new_run("torture"))
    found.prepare()
    yield found
    found.run.run("scancel -n torture", check=False)
    found.until_over()


def test_starts_and_stops_in_a_row(clusters: Clusters) -> None:
    for _ in range(STARTS):
        clusters.submit()
        clusters.until_ready()
        clusters.stop()
        clusters.ends[clusters.run.ended(clusters.job)] += 1
        clusters.count_leaks()
    print(f"{STARTS} starts and stops: {clusters.told()}")
    assert sum(clusters.leaks.values()) == 0
    assert clusters.ends == {"COMPLETED|2": STARTS}


def test_random_kills(clusters: Clusters) -> None:
    """After each kill the job must end by itself, and the next cluster must come up."""
    chance = random.Random(SEED)  # noqa: S311 - moments, not secrets
    swept: Counter[str] = Counter()
    for number in range(KILLS):
        word, where = chance.choice(VICTIMS)
        clusters.submit()
        time.sleep(chance.uniform(1.0, LATEST))
        hit = clusters.kill(word, NODES[where])
        print(f"{number}: {word} on {NODES[where]}: {'killed' if hit else 'was not there'}")
        if not hit:
            clusters.run.run(f"scancel --batch --signal=USR1 {clusters.job}", check=False)
        clusters.until_over()
        clusters.ends[clusters.run.ended(clusters.job).partition("|")[0].split()[0]] += 1
        before = clusters.leaks.copy()
        clusters.count_leaks()
        # A folder and a token of a job that was killed whole are there until the next one starts.
        for what in ("folders", "files"):
            swept[what] += clusters.leaks[what] - before[what]
            clusters.leaks[what] = before[what]
    clusters.submit()
    clusters.until_ready()
    clusters.stop()
    clusters.count_leaks()
    print(f"{KILLS} kills: {clusters.told()}; left to the next start: {dict(swept)}")
    assert sum(clusters.leaks.values()) == 0
