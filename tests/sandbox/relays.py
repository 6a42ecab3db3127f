"""A run that is handed over, seen from outside: its relays, its jobs, and what became of them."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

from .conftest import Cluster
from .mnrun import Run, mnrun

FILES = Path(__file__).parent / "files"
SCRIPTS = ("own_steps.py", "own_rl.py")
LIVE = "pending,configuring,running,suspended,completing"


class Counts(NamedTuple):
    """What became of the jobs of a run."""

    duplicate: int
    """Attempts beyond those that were needed."""
    lost: int
    """Jobs that no record has, and stages without their last step."""
    leaked: int
    """Jobs that are still alive."""


class HandedOver:
    """One run, in a folder of its own."""

    def __init__(self, cluster: Cluster, name: str, pace: float = 0.0, steps: int = 3) -> None:
        self.cluster, self.steps = cluster, steps
        self.folder = f"training/{name}"
        for script in SCRIPTS:
            shutil.copy(FILES / script, cluster.home / script)
            cluster.run(f"chmod 644 ~mluser/{script}", "root@login")
        self.variables: dict[str, Any] = {
            "mnrun_run_dir": f"~/{self.folder}",
            "mnrun_trainer": "command",
            "sft_trainer": "~/own_steps.py",
            "sft_options": {"max_steps": steps, "pace": pace},
            "ppo_trainer": "~/own_rl.py",
            "ppo_options": {"max_steps": steps, "pace": pace},
            "ppo_model": "~/model/Llama-3.2-1B-Instruct",
        }

    def mnrun(self, *words: str, timeout: float = 600, **more: Any) -> Run:
        return mnrun(*words, timeout=timeout, **{**self.variables, **more})

    def hand_over(self, *words: str, **more: Any) -> str:
        """Hand it over; the first relay's job."""
        given = self.mnrun(*words, "--detach", **more)
        assert given.code == 0, given.text
        return self.relay_in(given)

    def relay_in(self, run: Run) -> str:
        found = re.search(
            r"[Jj]ob (\d+)", run.text.partition("From here on")[0].rpartition("\n\n")[2]
        )
        assert found, run.text
        return found[1]

    def queue(self, form: str = "%A", states: str = LIVE) -> list[str]:
        """This run's live jobs."""
        line = f"squeue --me -h -t {states} -o '%Z|{form}' | grep '/{self.folder}|' || true"
        return [row.partition("|")[2] for row in self.cluster.run(line).splitlines()]

    def relay(self) -> tuple[str, str] | None:
        """Job and node of the relay that works; None if none does."""
        for row in self.queue("%j %A %N", "running"):
            name, job, node = row.split()
            if name.startswith("relay-"):
                return job, node
        return None

    def kill_relay(self, script: bool = False, once: str = "") -> bool:
        """SIGKILL to the relay's process; False if there is none just now.

        Args:
            script: to that of its batch script as well, which records how it ended.
            once: a shell command; the kill comes as soon as it succeeds.
        """
        found = self.relay()
        if found is None:
            return False
        _job, node = found
        pids = f"pids=$(pgrep -f 'm[n]run.relay .*/{self.folder}/')"
        more = "$(ps -o ppid= -p $pids)" if script else ""
        until = f"timeout 300 sh -c 'until {once}; do sleep 0.1; done'" if once else "true"
        wait = f"cd ~mluser/{self.folder} && {until} && "
        line = f"{wait}{pids} && kill -9 {more} $pids && echo killed"
        said = self.cluster.run(line, f"root@{node}", timeout=330, check=False)
        return said.endswith("killed")

    def processes(self) -> int:
        """How many relays run, whatever Slurm knows."""
        line = f"pgrep -fc 'm[n]run.relay .*/{self.folder}/' || true"
        return sum(int(self.cluster.run(line, f"root@osk-gpu{one}")) for one in (94, 95))

    def until(self, stage: str, pattern: str, timeout: float = 300) -> str:
        """Wait until a record has a pattern."""
        line = f"cat {self.folder}/.mnrun/{stage}/*/record.json 2>/dev/null || true"
        return self.cluster.wait(line, pattern, timeout)

    def end(self, timeout: float = 900) -> str:
        """Wait until none of its jobs is alive; the relay's log."""
        deadline = time.monotonic() + timeout
        while self.queue():
            assert time.monotonic() < deadline, self.log()
            time.sleep(1)
        return self.log()

    def log(self) -> str:
        return self.cluster.run(f"cat {self.folder}/relay/relay.log", check=False)

    def attempts(self, stage: str) -> list[dict[str, Any]]:
        line = f"cat {self.folder}/.mnrun/{stage}/*/record.json 2>/dev/null || true"
        text = self.cluster.run(line)
        found: list[dict[str, Any]] = json.loads(text)["attempts"] if text else []
        return found

    def counts(self, *stages: str, needed: int = 1) -> Counts:
        """Count over the stages that were to be done; `needed` attempts of each."""
        line = (
            f"sacct -n -X -P -o JobID,WorkDir,Start | grep '/{self.folder}|' | grep -v None || true"
        )
        jobs = {row.split("|")[0] for row in self.cluster.run(line).splitlines()}
        everything = [*stages, "ray", "relay", "relay-2", "relay-3"]
        known = {one["job_id"] for stage in everything for one in self.attempts(stage)}
        last = [f"{stage}/checkpoints/checkpoint-{self.steps}" for stage in stages]
        there = [
            self.cluster.run(f"test -d {self.folder}/{one} && echo yes || echo no") for one in last
        ]
        # One whose relay died before it could submit it has no job.
        done = {stage: sum(1 for one in self.attempts(stage) if one["job_id"]) for stage in stages}
        return Counts(
            duplicate=sum(max(0, count - needed) for count in done.values()),
            lost=len(jobs - known) + there.count("no"),
            leaked=len(self.queue()),
        )

    def remove(self) -> None:
        self.cluster.end_jobs(self.folder)
        self.cluster.run(f"rm -rf {self.folder}")
