"""A run that is handed over goes to its end unattended, each job once."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Cluster
from .faults import kill_node, mend, running, signal_slurmctld
from .relays import HandedOver

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(1800)]


@pytest.fixture
def handed(sandbox: Cluster) -> Iterator[HandedOver]:
    run = HandedOver(sandbox, f"relay-{time.time_ns()}")
    yield run
    run.remove()


@pytest.fixture
def slow(sandbox: Cluster) -> Iterator[HandedOver]:
    """Stages that take a while."""
    run = HandedOver(sandbox, f"relay-{time.time_ns()}", pace=4.0, steps=6)
    yield run
    run.remove()


def test_a_stage_is_trained_unattended(handed: HandedOver, monkeypatch: pytest.MonkeyPatch) -> None:
    told, teller = f"~/{handed.folder}.told", f"~/{handed.folder}.sh"
    handed.cluster.run(
        f"mkdir -p ~/training; printf '#!/bin/sh\ncat >> {told}' > {teller}; chmod 755 {teller}"
    )
    handed.variables["mnrun_notify"] = [{"command": teller}]
    job = handed.hand_over("sft")
    again = handed.mnrun("sft", "--detach")
    assert f"Attached to job {job}" in again.text or f"job {job}" in again.text, again.text
    log = handed.end()
    assert handed.counts("sft") == (0, 0, 0), log
    assert "step 3/3" in log
    status = handed.mnrun("status")
    assert f"Relay: job {job} finished the run." in status.text, status.text
    assert handed.mnrun("attach").code == 0
    events = handed.cluster.run(f"cat {told}")
    assert events.count('"event": ') == events.count('"event": "stage_done"') == 1, events
    monkeypatch.setenv("MNRUN_YES", "0")
    refused = handed.mnrun("sft", "--detach", sft_options={"max_steps": 4})
    assert refused.code == 1
    assert "would be moved aside" in refused.text
    assert "--yes" in refused.text
    handed.cluster.run(f"rm {told} {teller}")


@pytest.mark.torture
def test_both_stages_end_with_the_controller_gone(handed: HandedOver) -> None:
    handed.hand_over("all")
    log = handed.end()
    assert handed.counts("sft", "ppo") == (0, 0, 0), log
    person = handed.mnrun("all")
    assert (person.code, person.changed) == (0, 0), person.text


@pytest.mark.torture
def test_the_relay_is_cancelled_by_a_person(slow: HandedOver) -> None:
    job = slow.hand_over("sft")
    slow.until("sft", '"state": "RUNNING"|"job_id": "[0-9]+"')
    (training,) = [row.split()[1] for row in slow.queue("%j %A") if not row.startswith("relay-")]
    slow.cluster.run(f"scancel {job}")
    log = slow.end()
    assert slow.cluster.ended(training) == "COMPLETED", log
    assert len(slow.attempts("sft")) == 1
    status = slow.mnrun("status")
    assert f"Relay: job {job} was cancelled" in status.text, status.text
    assert slow.mnrun("attach").code == 1
    assert "was cancelled, so nothing new starts" in slow.log()
    person = slow.mnrun("sft")
    assert (person.code, person.changed) == (0, 0), person.text


@pytest.mark.torture
def test_a_training_cancelled_while_no_relay_lives_does_not_start_again(slow: HandedOver) -> None:
    slow.hand_over("sft")
    slow.until("sft", '"job_id": "[0-9]+"')
    (training,) = [row.split()[1] for row in slow.queue("%j %A") if not row.startswith("relay-")]
    assert slow.kill_relay()
    slow.cluster.run(f"scancel {training}")
    log = slow.end()
    assert len(slow.attempts("sft")) == 1, log
    assert "cancelled by hand" in log, log
    assert slow.mnrun("attach").code == 1


@pytest.mark.torture
def test_mnrun_cancel_ends_the_relay_first(slow: HandedOver) -> None:
    job = slow.hand_over("all")
    slow.until("sft", '"job_id": "[0-9]+"')
    ended = slow.mnrun("cancel")
    assert ended.code == 0, ended.text
    assert ended.text.index("relay: ") < ended.text.index("sft: "), ended.text
    slow.end(60)
    assert f"Relay: job {job} was cancelled" in slow.mnrun("status").text
    assert len(slow.attempts("sft")) == 1
    assert slow.attempts("ppo") == []


@pytest.mark.torture
def test_a_time_limit_of_minutes(sandbox: Cluster) -> None:
    run = HandedOver(sandbox, f"relay-{time.time_ns()}", pace=15.0, steps=12)
    minutes = os.environ.get("MNRUN_RELAY_MINUTES", "3")
    limit = {"time": minutes, "signal": "B:USR1@45"}
    run.variables["mnrun_relay_sbatch"] = {"exclude": "", **limit}
    run.hand_over("all")
    log = run.end(1500)
    counts = run.counts("sft", "ppo")
    renewed = log.count("the job that waits continues")
    print(f"\n{renewed} renewals; duplicate, lost, leaked: {tuple(counts)}")
    assert counts == (0, 0, 0), log
    assert renewed >= 2, log
    run.remove()


@pytest.mark.torture
def test_two_people_beside_it(slow: HandedOver, tmp_path: Path) -> None:
    slow.hand_over("all")
    with (
        running(tmp_path / "one.log", "all", **slow.variables) as one,
        running(tmp_path / "two.log", "all", **slow.variables) as two,
    ):
        first, second = one.end(900), two.end(900)
    log = slow.end()
    assert (first[0], second[0]) == (0, 0), first[1] + second[1]
    assert slow.counts("sft", "ppo") == (0, 0, 0), log


@pytest.mark.torture
@pytest.mark.parametrize("after", ["job_id.: .[0-9]", "step=4"])
def test_the_power_of_its_node_is_cut(slow: HandedOver, after: str) -> None:
    slow.hand_over("sft")
    shown = f"cat {slow.folder}/.mnrun/sft/*/record.json {slow.folder}/sft/logs/* 2>/dev/null; true"
    slow.cluster.wait(shown, after, 300)
    found = slow.relay()
    assert found
    kill_node(slow.cluster, found[1])
    mend(slow.cluster)
    log = slow.end()
    # The training, which had a rank on that node, failed too.
    assert slow.counts("sft", needed=2) == (0, 0, 0), log


@pytest.mark.torture
def test_slurmctld_is_away_for_a_while(slow: HandedOver) -> None:
    slow.hand_over("all")
    slow.until("sft", '"job_id": "[0-9]+"')
    away = float(os.environ.get("MNRUN_RELAY_AWAY", "100"))
    signal_slurmctld(slow.cluster, "STOP")
    time.sleep(away)
    signal_slurmctld(slow.cluster, "CONT")
    log = slow.end()
    assert slow.counts("sft", "ppo") == (0, 0, 0), log


@pytest.mark.torture
def test_two_relays_where_slurm_takes_a_node_for_dead(sandbox: Cluster) -> None:
    run = HandedOver(sandbox, f"relay-{time.time_ns()}", pace=8.0, steps=10)
    run.variables |= {"mnrun_nodes": 1, "mnrun_nodelist": "osk-gpu95"}
    run.variables["mnrun_relay_sbatch"] = {"exclude": ""}
    run.hand_over("all")
    run.until("sft", '"job_id": "[0-9]+"')
    found = run.relay()
    assert found
    job, node = found
    assert node == "osk-gpu94"  # the training has the other one
    # Slurm hears nothing of the node, and calls its jobs failed; they live.
    sandbox.run("kill -STOP $(pgrep -x slurmd)", f"root@{node}")
    try:
        sandbox.wait(f"cat {run.folder}/relay/relay.log", "on osk-gpu95", 300)
        assert sandbox.ended(job) == "NODE_FAIL"
        both = run.processes()
        log = run.end(1200)
    finally:
        sandbox.run("kill -CONT $(pgrep -x slurmd)", f"root@{node}")
    assert both == 2, log
    assert "Another relay has claimed the run, so this one ends." in log
    counts = run.counts("sft", "ppo")
    print(f"\ntwo relays; duplicate, lost, leaked: {tuple(counts)}")
    assert counts == (0, 0, 0), log
    run.remove()
