"""Relays that are killed, at random moments and between stages: each job once."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator

import pytest

from .conftest import Cluster
from .relays import HandedOver

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(3600), pytest.mark.torture]

KILLS = int(os.environ.get("MNRUN_RELAY_KILLS", "50"))
SEED = int(os.environ.get("MNRUN_RELAY_SEED", "1"))
LONGEST = float(os.environ.get("MNRUN_RELAY_GAP", "25"))  # seconds between two kills
EACH = 8  # kills of one run: after ten relays in a row that died soon no other follows

# What is on disk at a boundary, below the run folder's .mnrun.
BOUNDARIES = {
    "a relay has claimed the run": "ls .mnrun/relay/holders/*.json",
    "SFT is about to be submitted": "ls .mnrun/sft/intents/000001.json",
    "SFT was submitted": "grep -q job_id.:..[0-9] .mnrun/sft/*/record.json",
    "SFT has begun": "ls .mnrun/sft/*/start-1.json",
    "SFT has ended": "ls .mnrun/sft/*/end-1.json",
    "SFT's end is recorded": "grep -q COMPLETED .mnrun/sft/*/record.json",
    "PPO is about to be submitted": "ls .mnrun/ppo/intents/000001.json",
    "PPO has ended": "ls .mnrun/ppo/*/end-1.json",
    "PPO's end is recorded": "grep -q COMPLETED .mnrun/ppo/*/record.json",
}


@pytest.fixture
def run(sandbox: Cluster) -> Iterator[HandedOver]:
    run = HandedOver(sandbox, f"relay-{time.time_ns()}", pace=2.0, steps=5)
    yield run
    run.remove()


def test_killed_at_random_moments(sandbox: Cluster) -> None:
    chance = random.Random(SEED)  # noqa: S311 - the same moments in each run
    killed = 0
    while killed < KILLS:
        run = HandedOver(sandbox, f"relay-{time.time_ns()}", pace=4.0, steps=8)
        run.hand_over("all")
        here = 0
        while here < EACH and run.queue():
            time.sleep(chance.uniform(1, LONGEST))
            # The last in line is spared: three in a row that die before they submit end the run.
            if any(name.startswith("relay-") for name in run.queue("%j", "pending")):
                here += run.kill_relay(script=chance.random() < 0.5)
        log = run.end()
        counts = run.counts("sft", "ppo")
        killed += here
        print(f"\n{killed} kills; duplicate, lost, leaked: {tuple(counts)}", flush=True)
        assert counts == (0, 0, 0), log
        run.remove()


def test_killed_at_each_boundary(run: HandedOver) -> None:
    run.hand_over("all")
    killed = []
    for name, once in BOUNDARIES.items():
        deadline = time.monotonic() + 120
        while run.relay() is None and run.queue() and time.monotonic() < deadline:
            time.sleep(0.2)
        if run.kill_relay(once=f"{once} > /dev/null 2>&1"):
            killed.append(name)
    log = run.end()
    counts = run.counts("sft", "ppo")
    print(f"\nkilled when {killed}; duplicate, lost, leaked: {tuple(counts)}")
    assert counts == (0, 0, 0), log
    assert len(killed) >= len(BOUNDARIES) - 1, log
