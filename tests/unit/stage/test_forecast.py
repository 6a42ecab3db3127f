"""What a plan says of a stage: what is done, why, for how long, and what is moved aside."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Refused
from ansible_collections.mnrun.train.plugins.module_utils.base.fingerprint import fingerprint
from ansible_collections.mnrun.train.plugins.module_utils.base.process import Result
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import Consent, Record
from ansible_collections.mnrun.train.plugins.module_utils.record.ledger import Ledger
from ansible_collections.mnrun.train.plugins.module_utils.stage.conclude import conclude
from ansible_collections.mnrun.train.plugins.module_utils.stage.decide import Action
from ansible_collections.mnrun.train.plugins.module_utils.stage.present import plan

from tests.helpers.checkpoints import write_step
from tests.helpers.stage_run import Run

LR = {"options": {"optim.lr": 0.003}, "inputs": {"model": "a" * 64}}


def train(run: Run, spec: dict[str, Any], state: str = "COMPLETED", step: int = 8) -> None:
    outcome = run.present(spec=spec, checkpoints=run.rule)
    assert outcome.attempt is not None
    run.slurm.run(run.job)
    log = Path(run.record(spec).attempts[-1].stdout)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("".join(f"step:{one} - train/loss:0.5\n" for one in range(1, step + 1)))
    write_step(run.rule.path, step)
    run.clock.sleep(80)
    run.slurm.end(run.job, state, "0:0")
    conclude(run.stage(spec=spec, checkpoints=run.rule), outcome.attempt.number, 100)


def planned(run: Run, spec: dict[str, Any], **rule: Any) -> dict[str, Any]:
    found = plan(run.stage(spec=spec, checkpoints=run.rule._replace(**rule))).plan
    assert found is not None
    return found


def test_what_was_never_tried_has_no_past(run: Run) -> None:
    run.slurm.refusals.append(Result(0, "", "sbatch: Job 7 to start at 2026-11-27T03:45:37 using"))
    found = planned(run, LR, last_step=8, step_bytes=100, kept=3)
    assert found == {
        "does": "submitted", "first_step": 0, "steps": 8, "changes": [], "seconds": None,
        "aside": "", "finished": False, "bytes": 300,
        "start": time.mktime((2026, 11, 27, 3, 45, 37, 0, 0, -1)),
    }  # fmt: skip


def test_finished_work_is_done(run: Run) -> None:
    train(run, LR)
    found = planned(run, LR)
    assert (found["does"], found["steps"], found["changes"]) == ("nothing", 8, [])
    assert (found["seconds"], found["aside"], found["bytes"]) == (None, "", 0)


def test_another_value_is_named_with_what_it_costs(run: Run) -> None:
    train(run, LR)
    found = planned(run, {"options": {"optim.lr": 2e-05}, "inputs": {"model": "b" * 64}})
    assert found["changes"] == ["another base model", "optim.lr 0.003 → 2e-05"]
    assert (found["does"], found["steps"], found["seconds"]) == ("submitted", 8, 80.0)
    assert (found["aside"], found["finished"]) == (str(run.rule.path), True)


def test_hours_are_not_guessed_where_the_length_changes(run: Run) -> None:
    train(run, LR)
    found = planned(run, {**LR, "options": {"trainer.total_epochs": 3}})
    assert found["changes"] == ["optim.lr 0.003 → not set", "trainer.total_epochs not set → 3"]
    assert (found["steps"], found["seconds"]) == (0, None)


def test_a_failed_attempt_is_resumed_for_the_rest_of_its_steps(run: Run) -> None:
    train(run, LR, "TIMEOUT", step=2)
    found = planned(run, LR, last_step=8)
    assert (found["does"], found["first_step"], found["seconds"]) == ("resubmitted", 2, 240.0)
    assert (found["aside"], found["changes"]) == ("", [])


def test_unfinished_checkpoints_of_other_options_are_not_finished_work(run: Run) -> None:
    train(run, LR, "FAILED", step=2)
    found = planned(run, {**LR, "options": {}})
    assert (found["aside"], found["finished"]) == (str(run.rule.path), False)


OTHER = {**LR, "options": {"optim.lr": 2e-05}}


def test_finished_work_is_set_aside_only_with_a_yes(run: Run) -> None:
    train(run, LR)
    asked = {"spec": OTHER, "checkpoints": run.rule, "consent": Consent(set_aside=False)}
    with pytest.raises(Refused, match=r"again \(optim.lr 0.003 → 2e-05\). The finished work in"):
        plan(run.stage(**asked))
    with pytest.raises(Refused) as refusal:
        run.present(**asked)
    assert refusal.value.details["needs_yes"] is True
    assert run.slurm.count("sbatch") == 1
    assert run.present(**{**asked, "consent": Consent()}).action is Action.SUBMIT


def test_unfinished_checkpoints_need_no_yes(run: Run) -> None:
    train(run, LR, "FAILED", step=2)
    asked = {"spec": OTHER, "checkpoints": run.rule, "consent": Consent(set_aside=False)}
    assert run.present(**asked).action is Action.SUBMIT


def test_finished_work_of_what_follows_counts_as_well(run: Run) -> None:
    output = {"step": 8, "path": "/p", "model": "/m", "metrics": {}}
    done = Record("ppo", "ray", fingerprint(LR), LR, {}, [], output)
    Ledger(run.folder, "ppo", run.clock).save(done)
    with pytest.raises(Refused, match="That of ppo, which begins with its result, would"):
        run.present(spec=OTHER, consent=Consent(set_aside=False, followers=["ppo"]))


def test_more_gpu_hours_than_allowed_need_a_yes_but_no_retry_does(run: Run) -> None:
    train(run, LR)
    hours = Consent(gpu_hours=1.0, gpus=100)
    with pytest.raises(Refused, match=r"It would take about 2 GPU-hours\."):
        run.present(spec=OTHER, checkpoints=run.rule, consent=hours)
    train(run, OTHER, "NODE_FAIL", step=2)
    rule = run.rule._replace(last_step=1000)
    retried = run.present(spec=OTHER, checkpoints=rule, consent=hours)
    assert retried.action is Action.RESUBMIT
