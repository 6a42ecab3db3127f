"""The Ray cluster inside a real Slurm, and jobs on it by Ray's job API."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.sandbox.conftest import Cluster
from tests.sandbox.plays import play

NODES = ("osk-gpu94", "osk-gpu95")
pytestmark = pytest.mark.sandbox


@dataclass
class Run:
    """One working folder on the cluster's shared home."""

    sandbox: Cluster
    name: str

    @property
    def folder(self) -> str:
        return f"/home/mluser/test-ray/{self.name}"

    def play(self, *steps: str, **variables: Any) -> str:
        """Run these steps; they have to succeed."""
        done = self.try_to(*steps, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def try_to(self, *steps: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        given = {"mnrun_run_dir": self.folder, "steps": steps, "way": "well", **variables}
        return play("tests/sandbox/ray.yml", given)

    def head(self) -> dict[str, Any]:
        """What the cluster that runs has published."""
        text = self.sandbox.run(f"cat {self.folder}/.mnrun/ray/*/head.json")
        head: dict[str, Any] = json.loads(text)
        return head

    def driver_log(self) -> str:
        return self.sandbox.run(f"cat {self.folder}/ppo/logs/*.log", check=False)

    def until_trained(self, step: int) -> None:
        """Wait for a training step in the driver's log."""
        self.sandbox.wait(f"cat {self.folder}/ppo/logs/*.log", rf"step:{step} - ")

    def state(self, job_id: str) -> str:
        return self.sandbox.run(f"sacct -X -n -P -j {job_id} -o State,NNodes")

    def leftovers(self, job_id: str) -> list[str]:
        """Processes and folders of a job on any node."""
        look = (
            f"grep -lzs '^SLURM_JOB_ID={job_id}$' /proc/[0-9]*/environ; ls -d /tmp/mnrun-{job_id}-*"
        )
        found = [self.sandbox.run(look, f"root@{node}", check=False) for node in NODES]
        return [line for line in "\n".join(found).splitlines() if "cannot access" not in line]


@pytest.fixture
def new_run(sandbox: Cluster, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Makes runs, and ends what they leave."""
    runs: list[Run] = []

    def make(name: str) -> Run:
        sandbox.run(f"rm -rf test-ray/{name}")
        runs.append(Run(sandbox, name))
        return runs[-1]

    yield make
    for run in runs:
        run.play("stop")


def test_up_train_again_fail_and_down(new_run: Any) -> None:
    run = new_run("one")
    assert re.search(r"\[ray\] job \d+ RUNNING on osk-gpu\[94-95\]", run.play("start"))
    head = run.head()
    assert head["nodes"] == list(NODES)
    assert (head["gpus"], head["host"]) == (2, "osk-gpu94")

    said = run.play("start", "job")
    assert re.search(r"\[ppo\] job ppo-\w+-1 SUCCEEDED · step 3/3 · reward 0.3", said)
    places = [(head["job_id"], node) for node in NODES]
    assert run.driver_log().splitlines()[-1] == f"ran in {places}"
    assert "changed=0" in run.play("start", "job")

    failed = run.try_to("start", "job", way="fail")
    assert failed.returncode == 2
    assert "ValueError: the trainer says why" in failed.stdout

    begun = time.monotonic()
    run.play("stop")
    assert time.monotonic() - begun < 30  # seconds on a busy machine, Ansible's own included
    assert run.leftovers(head["job_id"]) == []
    assert run.state(head["job_id"]) == "COMPLETED|2"
    assert run.sandbox.run(f"ls {run.folder}/.mnrun/ray/*/ | grep -c token", check=False) == "0"
    assert "changed=0" in run.play("stop")


def test_nobody_gets_in_without_the_token(new_run: Any) -> None:
    run = new_run("private")
    run.play("start")
    head = run.head()
    ask = (
        f"curl -s -m 10 -o /dev/null -w '%{{http_code}}' http://127.0.0.1:{head['dashboard_port']}"
    )
    for path in ("/api/jobs/", "/api/v0/nodes", "/api/version"):
        assert run.sandbox.run(f"{ask}{path}", head["host"]) == "401"
    elsewhere = ask.replace("127.0.0.1", head["address"])
    assert run.sandbox.run(elsewhere, head["host"], check=False) == "000"  # the loopback only
    assert run.sandbox.run(f"stat -c %a {head['token_file']}") == "600"
    assert run.sandbox.run(f"stat -c %a {head['temp_dir']}", head["host"]) == "700"
    token = run.sandbox.run(f"cat {head['token_file']}")
    shown = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
    written = f"cat {run.folder}/ppo/ray_cluster/logs/* {run.folder}/.mnrun/ray/*/*.*"
    assert token not in run.sandbox.run(shown, f"root@{head['host']}", check=False)
    assert token not in run.sandbox.run(written)


def test_two_clusters_side_by_side_on_the_same_nodes(new_run: Any) -> None:
    first, second = new_run("left"), new_run("right")
    with ThreadPoolExecutor() as both:
        list(both.map(lambda run: run.play("start"), (first, second)))
    one, two = first.head(), second.head()
    assert one["nodes"] == two["nodes"] == list(NODES)
    assert {one["gcs_port"], one["dashboard_port"]}.isdisjoint(
        {two["gcs_port"], two["dashboard_port"]}
    )
    first.play("start", "job", way="slow", wait=False)
    second.play("start", "job")
    second.play("stop")
    assert second.leftovers(two["job_id"]) == []
    assert f"('{two['job_id']}', 'osk-gpu95')" in second.driver_log()
    first.until_trained(1)
    assert first.state(one["job_id"]).startswith("RUNNING")


def test_a_lost_node_ends_the_cluster_and_ppo_goes_on_in_the_next(new_run: Any) -> None:
    run = new_run("lost")
    run.play("start", "job", way="slow", wait=False)
    run.until_trained(1)
    job = run.head()["job_id"]
    find = f"grep -lzs '^SLURM_JOB_ID={job}$' /proc/[0-9]*/environ | cut -d/ -f3"
    one = 'for pid in $(%s); do [ "$(cat /proc/$pid/comm)" = raylet ] && kill -9 $pid; done; true'
    run.sandbox.run(one % find, "root@osk-gpu95")
    run.sandbox.wait(f"sacct -X -n -P -j {job} -o State", "FAILED")
    said = run.sandbox.run(f"cat {run.folder}/ppo/ray_cluster/logs/slurm-{job}.out")
    assert "[ray] error: the Ray cluster is lost." in said
    assert "osk-gpu95: Ray ended by itself, exit code 1." in said
    assert "osk-gpu94:" not in said
    assert run.leftovers(job) == []

    said = run.play("start", "job", way="slow", wait=False)
    assert run.head()["job_id"] != job
    run.sandbox.wait(f"ls {run.folder}/.mnrun/ppo/*/", "start-2.json")


def test_a_cluster_that_cannot_come_up_says_why(new_run: Any) -> None:
    run = new_run("bad")
    done = run.try_to("start", ray_cluster_options={"no-such-option": 1})
    assert done.returncode == 2
    assert "No such option" in done.stdout
    # Whichever node is the first to end.
    assert any(f"{node}: Ray ended by itself" in done.stdout for node in NODES)


def test_nodes_are_given_back_when_nothing_runs(new_run: Any) -> None:
    run = new_run("idle")
    run.play("start", ray_cluster_idle_timeout=2)
    job = run.head()["job_id"]
    run.sandbox.wait(f"sacct -X -n -P -j {job} -o State", "COMPLETED", timeout=30)
    assert run.leftovers(job) == []
