"""A Ray job whose cluster went away: how it ended is told without a head, by files and by Slurm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.action.ray_job import ActionModule
from ansible_collections.mnrun.train.plugins.module_utils.ray.backend import (
    RayBackend,
    RayJob,
    RayRecords,
)
from ansible_collections.mnrun.train.plugins.module_utils.ray.client import RayClient
from ansible_collections.mnrun.train.plugins.module_utils.ray.head import Heads, ask_slurm
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    Attempt,
    CheckpointRule,
    Phase,
    Request,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.ledger import Ledger
from ansible_collections.mnrun.train.plugins.module_utils.slurm.client import SlurmClient
from ansible_collections.mnrun.train.plugins.module_utils.stage.cause import Cause
from ansible_collections.mnrun.train.plugins.module_utils.stage.conclude import conclude
from ansible_collections.mnrun.train.plugins.module_utils.stage.context import Stage
from ansible_collections.mnrun.train.plugins.module_utils.stage.decide import Action
from ansible_collections.mnrun.train.plugins.module_utils.stage.outcome import Outcome
from ansible_collections.mnrun.train.plugins.module_utils.stage.present import plan, present

from tests.helpers.checkpoints import write_step
from tests.helpers.fake_ray import FakeRay
from tests.helpers.fake_slurm import FakeClock, FakeJob, FakeSlurm

PARTS = ("actor", "critic")


class Ppo:
    """PPO on a Ray cluster in Slurm job 12, seen from the login node."""

    def __init__(self, folder: Path, clock: FakeClock, slurm: FakeSlurm) -> None:
        self.folder, self.clock, self.slurm = folder, clock, slurm
        self.rule = CheckpointRule(folder / "checkpoints", list(PARTS), hf=False)
        self.cluster = FakeJob("12", "verl-ray-ppo-1", "", str(folder), clock.now())
        slurm.jobs.append(self.cluster)
        slurm.run(self.cluster)
        client = SlurmClient(slurm, clock)
        self.records = RayRecords(
            RayJob(folder, "ppo"), ask_slurm(client, folder), Heads(client, folder)
        )
        job = RayJob(folder, "ppo", "true", {}, f"{folder}/%x.log", "12")
        self.head = FakeRay()
        self.on_head = RayBackend(
            RayClient(self.head), job, ask_slurm(client, folder), Heads(client, folder)
        )

    def stage(self, backend: RayRecords) -> Stage:
        request = Request(self.folder, "ppo", "ray", "ppo", {"lr": 1}, checkpoints=self.rule)
        return Stage(request, backend, Ledger(self.folder, "ppo", self.clock), self.clock)

    def train(self, step: int = 4) -> None:
        outcome = present(self.stage(self.on_head))
        assert outcome.attempt is not None
        assert outcome.folder is not None
        said = {"job_id": outcome.attempt.name, "token": outcome.attempt.token, "start": 5}
        (outcome.folder / "start-1.json").write_text(json.dumps(said))
        if step:
            write_step(self.rule.path, step, PARTS)

    def attempt(self) -> Attempt:
        (record,) = Ledger(self.folder, "ppo", self.clock).records()
        return record.attempts[-1]

    def end(self) -> Outcome:
        return conclude(self.stage(self.records), 1, 1000)


@pytest.fixture
def ppo(tmp_path: Path, clock: FakeClock, slurm: FakeSlurm) -> Ppo:
    return Ppo(tmp_path, clock, slurm)


@pytest.mark.parametrize(
    ("state", "cause", "retryable"),
    [
        ("FAILED", Cause.RAY_LOST, True),
        ("TIMEOUT", Cause.TIME_LIMIT, True),
        ("PREEMPTED", Cause.PREEMPTED, True),
        ("NODE_FAIL", Cause.NODE, True),
        ("CANCELLED by 2000", Cause.CANCELLED, False),
        ("COMPLETED", Cause.RAY_STOPPED, False),
    ],
)
def test_a_training_that_was_lost_with_its_cluster_ended_as_that_did(
    ppo: Ppo, state: str, cause: Cause, retryable: bool
) -> None:
    ppo.train()
    ppo.clock.after(100, lambda: ppo.slurm.end(ppo.cluster, state))
    outcome = ppo.end()
    assert (outcome.cause, outcome.retryable) == (cause, retryable)
    assert "is step 4" in outcome.problem or "from step 4" in outcome.problem
    planned = plan(ppo.stage(ppo.records))
    assert planned.action is Action.RESUBMIT
    assert "The next attempt resumes from step 4" in planned.why


def test_while_its_cluster_lives_so_does_it(ppo: Ppo) -> None:
    ppo.train()
    assert "It was left alone; run the same command again" in ppo.end().problem


def test_a_head_that_died_under_its_job_is_seen_on_its_own_node_too(ppo: Ppo) -> None:
    ppo.train()
    ppo.head.down = True
    assert not ppo.on_head.observe(ppo.folder, ppo.attempt()).known
    ppo.slurm.end(ppo.cluster, "FAILED", "1:0")
    assert ppo.on_head.observe(ppo.folder, ppo.attempt()).phase is Phase.GONE


def test_a_node_of_the_cluster_that_is_down_is_named(ppo: Ppo) -> None:
    ppo.train()
    ppo.slurm.node_states["osk-gpu95"] = "down*"
    ppo.slurm.end(ppo.cluster, "FAILED", "1:0")
    outcome = ppo.end()
    assert outcome.cause is Cause.NODE
    assert "a node failed (osk-gpu95)" in outcome.problem


def test_a_node_that_is_called_down_only_later_is_named_too(ppo: Ppo) -> None:
    ppo.train()
    ppo.slurm.end(ppo.cluster, "NODE_FAIL")
    assert "Cause: a node failed." in ppo.end().problem
    ppo.slurm.node_states["osk-gpu95"] = "down*"
    assert "Cause: a node failed (osk-gpu95)." in ppo.end().problem


def test_a_cluster_that_slurm_has_forgotten_leaves_no_trace(ppo: Ppo) -> None:
    ppo.train()
    ppo.slurm.jobs.clear()
    outcome = ppo.end()
    assert (outcome.cause, outcome.retryable) == (Cause.NO_TRACE, False)


def test_the_head_is_given_up_soon_as_the_login_node_knows_more() -> None:
    assert ActionModule.silence <= 60
    assert not ActionModule.continues


def test_another_job_with_the_cluster_s_id_says_nothing_about_it(ppo: Ppo) -> None:
    ppo.train()
    ppo.slurm.jobs.clear()  # Slurm was wiped
    theirs = FakeJob("12", "theirs", "", "/", ppo.clock.now() + 1000, nodes="osk-gpu95")
    ppo.slurm.jobs.append(theirs)
    ppo.slurm.node_states["osk-gpu95"] = "down*"
    ppo.slurm.end(theirs, "TIMEOUT")
    assert ppo.records.enclosing_end(ppo.attempt()) is None
    assert ppo.records.lost_nodes(ppo.attempt()) == []
