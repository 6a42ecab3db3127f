"""The Ray cluster inside a real Slurm, and jobs on it by Ray's job API."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.faults import record, running
from tests.sandbox.plays import controller
from tests.sandbox.ray_runs import NODES

pytestmark = [pytest.mark.sandbox, pytest.mark.slurm]


@pytest.mark.torture
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
    assert first.runs(one["job_id"])


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
    assert all(f"{node}: Ray ended by itself" in done.stdout for node in NODES)
    assert "started once more" not in done.stdout  # it is not the nodes


@pytest.mark.torture  # with a fake Ray in tests/unit/ray_program/test_life.py, and the next one
def test_nodes_are_given_back_when_nothing_runs(new_run: Any) -> None:
    run = new_run("idle")
    run.play("start", ray_cluster_idle_timeout=2)
    job = run.head()["job_id"]
    run.sandbox.wait(f"sacct -X -n -P -j {job} -o State", "COMPLETED", timeout=30)
    assert run.leftovers(job) == []


@pytest.mark.torture
def test_ppos_cluster_goes_with_ppo_when_the_controller_is_dead(new_run: Any) -> None:
    run = new_run("orphan")
    given = run.given(
        "start", "job", way="brief", ray_cluster_owner="ppo", ray_cluster_ppo_linger=2
    )
    with controller(given) as process:
        run.until_trained(1)
        os.killpg(process.pid, signal.SIGKILL)
    job = run.head()["job_id"]
    run.sandbox.wait(f"sacct -X -n -P -j {job} -o State", "COMPLETED", timeout=60)
    assert "no Ray job has run for 2 s (ray_cluster_ppo_linger)" in run.cluster_log()
    assert "step:3 - " in run.driver_log()
    assert run.leftovers(job) == []


@pytest.mark.torture
def test_two_users_on_one_node(new_run: Any) -> None:
    mine, theirs = new_run("mine"), new_run("theirs", "mluser2")
    one_node = {"mnrun_nodes": 1, "mnrun_nodelist": "osk-gpu95"}
    mine.play("start", "job", way="slow", wait=False, **one_node)
    mine.until_trained(1)
    theirs.play("start", "job", **one_node)
    job = theirs.head()["job_id"]
    assert theirs.driver_log().splitlines()[-1] == f"ran in [('{job}', 'osk-gpu95')]"
    theirs.signal_stop()
    assert theirs.leftovers(job) == []
    assert theirs.ended(job) == "COMPLETED|1"
    head = mine.head()
    assert mine.runs(head["job_id"])
    ask = f'curl -s -m 10 -H "Authorization: Bearer $(cat {head["token_file"]})"'
    jobs = mine.run(f"{ask} http://127.0.0.1:{head['dashboard_port']}/api/jobs/", head["host"])
    assert [job["status"] for job in json.loads(jobs)] == ["RUNNING"]


@pytest.mark.torture
@pytest.mark.timeout(900)
def test_real_ppo_goes_on_when_a_colleague_on_its_nodes_stops(new_run: Any, tmp_path: Path) -> None:
    mine, theirs = new_run("mine"), new_run("theirs", "mluser2")
    brief = {"trainer.total_training_steps": 4, "trainer.save_freq": 4, "trainer.test_freq": -1}
    given = {
        "mnrun_run_dir": mine.folder,
        "ppo_model": "~/model/Llama-3.2-1B-Instruct",
        "ppo_overrides": {**brief, "trainer.val_before_train": False},
    }
    with running(tmp_path / "log", "ppo", **given) as command:
        command.until(r"\[ppo\] (?:… )?job \S+ RUNNING · step 1/4 ")
        theirs.play("start", "job")
        job = theirs.head()["job_id"]
        assert theirs.head()["host"] == mine.head()["host"]
        theirs.play("stop")
        assert theirs.leftovers(job) == []
        assert command.process.poll() is None
        code, text = command.end()
    assert code == 0, text
    found = record(mine.sandbox, mine.folder, "ppo")
    assert (len(found["attempts"]), found["output"]["step"]) == (1, 4)
