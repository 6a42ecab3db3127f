"""A run whose stages share one allocation: queued for once, each stage once, no node left idle."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Cluster
from .faults import running
from .relays import HandedOver

BEGUN = r'"job_id": "[a-z0-9][^"]+"'  # in the record of a stage
pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(1800)]


class OneAllocation(HandedOver):
    """Such a run."""

    def __init__(self, cluster: Cluster, pace: float = 0.0, steps: int = 3) -> None:
        super().__init__(cluster, f"one-{time.time_ns()}", pace, steps)
        self.variables |= {"mnrun_one_allocation": True, "mnrun_allocation_sbatch": {"time": "30"}}

    def jobs(self) -> list[str]:
        """All jobs of the run that ever began."""
        line = (
            f"sacct -n -X -P -o JobID,WorkDir,Start | grep '/{self.folder}|' | grep -v None || true"
        )
        return [row.split("|")[0] for row in self.cluster.run(line).splitlines()]

    def relay(self) -> tuple[str, str] | None:
        found = super().relay()
        return (found[0], "osk-gpu94") if found else None

    def trained(self, stage: str) -> list[tuple[str, str]]:
        """Each attempt: its job, without what tells apart those in one allocation, and its end."""
        return [(one["job_id"].partition(".")[0], one["state"]) for one in self.attempts(stage)]


@pytest.fixture
def together(sandbox: Cluster) -> Iterator[OneAllocation]:
    run = OneAllocation(sandbox)
    yield run
    run.remove()


@pytest.fixture
def slow(sandbox: Cluster) -> Iterator[OneAllocation]:
    """Stages that take a while."""
    run = OneAllocation(sandbox, pace=4.0, steps=6)
    yield run
    run.remove()


def test_all_stages_run_in_one_job(together: OneAllocation) -> None:
    refused = together.mnrun(
        "all", "--detach", sft_sbatch={"time": "40"}, mnrun_allocation_sbatch={}
    )
    assert refused.code == 1
    assert "time is 40 for sft, 2:00:00 for ray" in refused.text, refused.text
    attached = together.mnrun("all")
    assert attached.code == 1
    assert "this needs --detach" in attached.text, attached.text
    assert "in one allocation of 2 nodes x 1 GPUs" in together.mnrun("plan").text
    assert together.queue() == []
    job = together.hand_over("all")
    log = together.end()
    assert together.jobs() == [job], log
    assert together.trained("sft") == together.trained("ray") == [(job, "COMPLETED")], log
    assert together.counts("ppo").duplicate == 0, log
    again = together.mnrun("all", "--detach")
    assert (again.code, again.changed) == (0, 0), again.text
    assert together.jobs() == [job]


@pytest.mark.torture
def test_a_relay_that_is_killed_comes_back(slow: OneAllocation) -> None:
    job = slow.hand_over("all")
    slow.until("sft", BEGUN)
    assert slow.kill_relay()
    slow.until("ppo", BEGUN)
    assert slow.kill_relay()
    log = slow.end()
    assert log.count("it continues") == 2, log
    assert slow.jobs() == [job], log
    assert slow.trained("sft") == slow.trained("ray") == [(job, "COMPLETED")], log
    assert slow.counts("sft", "ppo").duplicate == 0, log


@pytest.mark.torture
def test_its_time_limit(sandbox: Cluster) -> None:
    run = OneAllocation(sandbox, pace=12.0, steps=12)
    run.variables["mnrun_allocation_sbatch"] = {"time": "2"}
    job = run.hand_over("all")
    log = run.end(1500)
    # With most of the allocation's time the end is a time limit of its own.
    first, *others = run.trained("sft")
    assert first in {(job, "TIMEOUT"), (job, "ALLOCATION_OVER")}, log
    assert others, log
    assert run.counts("sft", "ppo").lost == 0, log
    assert run.mnrun("status").text.count("finished the run") == 1
    run.remove()


@pytest.mark.torture
def test_a_person_cancels_it(slow: OneAllocation) -> None:
    job = slow.hand_over("all")
    slow.until("sft", BEGUN)
    slow.cluster.run(f"scancel {job}")
    log = slow.end(300)  # those that wait begin, see that, and end
    assert "nothing new starts" in log
    assert len(slow.trained("sft")) == 1, log
    status = slow.mnrun("status")
    assert f"Relay: job {job} was cancelled" in status.text, status.text
    assert "CANCELLED" in status.text, status.text
    job = slow.hand_over("all")
    slow.until("ppo", BEGUN)
    ended = slow.mnrun("cancel")
    assert ended.code == 0, ended.text
    slow.end(120)
    assert len(slow.trained("sft")) == 2
    assert len(slow.trained("ppo")) == 1


@pytest.mark.torture
def test_a_stage_that_fails_ends_it(slow: OneAllocation) -> None:
    job = slow.hand_over("all", sft_options={"max_steps": 6, "pace": 4.0, "fail_at": 2})
    log = slow.end()
    assert slow.jobs() == [job], log
    assert slow.trained("sft") == [(job, "FAILED")], log
    assert slow.trained("ray") == [], log


@pytest.mark.torture
def test_two_people_at_once(slow: OneAllocation, tmp_path: Path) -> None:
    with (
        running(tmp_path / "one.log", "all", "--detach", **slow.variables) as one,
        running(tmp_path / "two.log", "all", "--detach", **slow.variables) as two,
    ):
        first, second = one.end(900), two.end(900)
    assert (first[0], second[0]) == (0, 0), first[1] + second[1]
    log = slow.end()
    assert len(slow.jobs()) == 1, log
    assert slow.counts("sft", "ppo").duplicate == 0, log
