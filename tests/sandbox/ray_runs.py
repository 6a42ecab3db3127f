"""Runs of the play ray.yml on the sandbox, and what they leave there."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from tests.sandbox.conftest import Cluster
from tests.sandbox.plays import play

NODES = ("osk-gpu94", "osk-gpu95")


@dataclass
class Run:
    """One working folder on the cluster's shared home."""

    sandbox: Cluster
    name: str
    user: str = "mluser"

    @property
    def folder(self) -> str:
        return f"/home/{self.user}/test-ray/{self.name}"

    def play(self, *steps: str, **variables: Any) -> str:
        """Run these steps; they have to succeed."""
        done = self.try_to(*steps, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def try_to(self, *steps: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        return play("tests/sandbox/ray.yml", self.given(*steps, **variables))

    def given(self, *steps: str, **variables: Any) -> dict[str, Any]:
        """The play's variables."""
        ours = {"mnrun_run_dir": self.folder, "steps": steps, "way": "well"}
        return {**ours, "ansible_user": self.user, **variables}

    def signal_stop(self) -> None:
        """End the cluster as `mnrun ray stop` does, without its play."""
        self.sandbox.end_jobs(self.folder, self.user, "USR1")

    def head(self) -> dict[str, Any]:
        """What the cluster that runs has published."""
        text = self.run(f"cat {self.folder}/.mnrun/ray/*/head.json")
        head: dict[str, Any] = json.loads(text)
        return head

    def run(self, command: str, node: str = "login", check: bool = True) -> str:
        """Run a line as the run's user."""
        return self.sandbox.run(command, f"{self.user}@{node}", check=check)

    def cluster_log(self) -> str:
        return self.run(f"cat {self.folder}/ppo/ray_cluster/logs/slurm-*.out", check=False)

    def driver_log(self) -> str:
        return self.sandbox.run(f"cat {self.folder}/ppo/logs/*.log", check=False)

    def until_trained(self, step: int) -> None:
        """Wait for a training step in the driver's log."""
        self.sandbox.wait(f"cat {self.folder}/ppo/logs/*.log", rf"step:{step} - ")

    def ended(self, job_id: str) -> str:
        return self.sandbox.ended(job_id, "State,NNodes")

    def runs(self, job_id: str) -> bool:
        return self.sandbox.run(f"squeue -h -j {job_id} -o %T", check=False) == "RUNNING"

    def leftovers(self, job_id: str) -> list[str]:
        """Processes and folders of a job on any node."""
        look = (
            f"grep -lzs '^SLURM_JOB_ID={job_id}$' /proc/[0-9]*/environ; ls -d /tmp/mnrun-{job_id}-*"
        )
        found = [self.sandbox.run(look, f"root@{node}", check=False) for node in NODES]
        return [line for line in "\n".join(found).splitlines() if "cannot access" not in line]
