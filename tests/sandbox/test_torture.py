"""Exactly once, under SIGKILL at every point: nothing twice, nothing lost, nothing left over.

The long ones are run by `make torture`, which prints the counts of docs/reliability.md.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from .conftest import Cluster
from .torture import Counts, Torture, judged

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(1800)]

SCENARIOS = ("submit", "resume", "stop", "replace")
SHORT_QUIET = 8.0  # seconds: sbatch answers here within one
WITHIN = {"submit": 4.0, "resume": 4.0, "stop": 2.5, "replace": 6.0}  # seconds of each call


@pytest.fixture
def torture(sandbox: Cluster) -> Iterator[Torture]:
    torture = Torture(sandbox, f"{time.time_ns()}")
    yield torture
    torture.clear()


def at_points(torture: Torture, step: int = 1) -> list[dict[str, Any]]:
    """A case for each point of each scenario, or for each `step`-th."""
    return [
        {"id": f"{scenario}-{number}", "scenario": scenario, "kill": {"point": point}}
        for scenario in SCENARIOS
        for number, point in enumerate(torture.points(scenario)[step // 2 :: step])
    ]


def at_random(count: int) -> list[dict[str, Any]]:
    """Cases that are killed at some moment, with sbatch or leaving it alone."""
    names = [SCENARIOS[number % len(SCENARIOS)] for number in range(count)]
    return [
        {"id": f"random-{number}", "scenario": name, "kill": {"within": WITHIN[name]}}
        for number, name in enumerate(names)
    ]


def exactly_once(counts: Counts, cases: Sequence[object]) -> None:
    print(f"\n{len(cases)} cases: {counts}")
    assert counts.seen == []
    assert (counts.duplicate, counts.lost, counts.leaked) == (0, 0, 0)
    assert counts.finished == len(cases)


def test_a_module_killed_at_some_points_and_moments(torture: Torture) -> None:
    cases = [*at_points(torture, step=14), *at_random(8)]
    counts = judged(torture.cases(cases, quiet=SHORT_QUIET), torture.slurm_jobs())
    exactly_once(counts, cases)
    assert counts.killed >= 15


@pytest.mark.torture
def test_a_module_killed_at_every_point(torture: Torture) -> None:
    cases = at_points(torture)
    counts = judged(torture.cases(cases, parallel=40), torture.slurm_jobs())
    exactly_once(counts, cases)
    assert counts.killed >= 180


@pytest.mark.torture
def test_a_module_killed_at_random_moments(torture: Torture) -> None:
    cases = at_random(100)
    counts = judged(torture.cases(cases, parallel=40), torture.slurm_jobs())
    exactly_once(counts, cases)
    assert counts.killed >= 60


def test_eight_controllers_on_two_hosts_submit_one_job(torture: Torture) -> None:
    one_job(torture)


@pytest.mark.torture
def test_eight_controllers_on_two_hosts_again_and_again(torture: Torture) -> None:
    for _ in range(20):
        one_job(torture)
    assert len(torture.slurm_jobs()) == 20


def test_eight_controllers_whose_lock_does_not_exclude_submit_one_job(torture: Torture) -> None:
    one_job(torture, unlocked=True)


@pytest.mark.torture
def test_eight_controllers_without_a_lock_again_and_again(torture: Torture) -> None:
    for _ in range(20):
        one_job(torture, unlocked=True)
    assert len(torture.slurm_jobs()) == 20


def one_job(torture: Torture, unlocked: bool = False) -> None:
    answers = torture.race(["login", "osk-gpu94"], each=4, unlocked=unlocked)
    assert len(answers) == 8
    assert [answer["msg"] for answer in answers if answer.get("failed")] == []
    assert len({answer["job"]["id"] for answer in answers}) == 1
    assert all(answer["job"]["state"] == "COMPLETED" for answer in answers)
    actions = sorted(answer["action"] for answer in answers)
    assert actions.count("submitted") == 1
    # Without a lock one may see the intent before the job.
    assert set(actions) <= {"submitted", "attached", "nothing", *(["adopted"] * unlocked)}
