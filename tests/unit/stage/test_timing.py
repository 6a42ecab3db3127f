"""What is known of a stage's times and cost without asking anybody for it."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.slurm.reasons import in_words
from ansible_collections.mnrun.train.plugins.module_utils.stage.conclude import conclude
from ansible_collections.mnrun.train.plugins.module_utils.stage.describe import line

from tests.helpers.checkpoints import write_step
from tests.helpers.stage_run import Run

from .test_status import BEGUN, entry


def timing(run: Run, **question: Any) -> dict[str, Any]:
    found: dict[str, Any] = entry(run, **question)["timing"]
    return found


def running(run: Run, log: str) -> None:
    run.present(checkpoints=run.rule, gpus=16, time_limit=7200.0)
    run.slurm.run(run.job)
    run.log(log)


def test_a_running_job_has_its_limit_its_cost_and_the_time_of_a_step(run: Run) -> None:
    running(run, BEGUN.format(4))
    begun = run.clock.now()
    run.clock.sleep(600)
    os.utime(run.attempt().stdout, (begun + 500, begun + 500))
    found = timing(run)
    assert found["now"] - found["since"] == 600
    assert (found["limit"], found["gpus"], found["nodes"]) == (7200.0, 16, "osk-gpu[94-95]")
    assert found["step_seconds"] == 125.0, "by the last line of its log"
    assert found["gpu_hours"] == pytest.approx(16 * 600 / 3600)
    run.clock.sleep(3600)
    assert timing(run)["step_seconds"] == 125.0, "it does not grow between two steps"


def test_the_start_of_a_job_is_no_part_of_its_steps(run: Run) -> None:
    running(run, BEGUN.format(4))
    begun = run.clock.now()
    run.clock.sleep(200)
    seen = run.stage().ledger.folder(run.record().fingerprint) / "steps-1.json"

    def told(*last: float) -> Any:
        pairs = {"first": [1, begun + 140.0], "last": list(last)}
        seen.write_text(json.dumps({"token": run.attempt().token, **pairs}))
        return timing(run)["step_seconds"]

    assert told(1, begun + 140.0) is None, "nothing is known of a step after the first one"
    assert told(4, begun + 146.0) == pytest.approx(2.0)


def test_before_its_first_step_the_attempt_before_tells_what_one_takes(run: Run) -> None:
    running(run, BEGUN.format(8))
    begun = run.clock.now()
    run.clock.sleep(400)
    write_step(run.rule.path, 8)
    run.slurm.end(run.job, "FAILED", "1:0")
    conclude(run.stage(checkpoints=run.rule), 1, 10)
    running(run, "loading\n")
    assert timing(run)["step_seconds"] == pytest.approx((run.clock.now() - begun) / 8, rel=0.05)


def test_the_newest_checkpoint_is_as_old_as_its_files(run: Run) -> None:
    running(run, BEGUN.format(9))
    place = {"path": str(run.rule.path), "parts": []}
    assert timing(run, checkpoints=place)["saved"] is None
    write_step(run.rule.path, 8)
    for path in (run.rule.path, *run.rule.path.rglob("*")):
        os.utime(path, (1000, 1000))
    assert timing(run, checkpoints=place)["saved"] == 1000
    assert timing(run)["saved"] is None, "not asked for"


def test_a_job_that_waits_says_why_and_when_it_is_expected_to_start(run: Run) -> None:
    run.present(gpus=16)
    run.job.reason, run.job.start = "Resources", run.clock.now() + 1800
    seen = entry(run)
    assert seen["why"] == "it waits for nodes to become free"
    assert seen["timing"]["expected"] == run.job.start
    assert "(Resources): it waits for nodes to become free, expected to start " in line(seen)
    assert seen["job"]["start"] is None
    run.job.start = run.clock.now() - 5
    run.clock.sleep(5)
    assert timing(run)["expected"] is None, "an estimate that has passed is none"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Priority", "jobs with a higher priority come first"),
        ("ReqNodeNotAvail, UnavailableNodes:n[1-2]", "nodes that it needs are reserved, down or"),
        ("QOSMaxGRESPerUser", "a limit of the QOS is reached"),
        ("AssocGrpGRESMinutes", "a limit of the account is reached"),
        ("Nodes required for job are DOWN, DRAINED or reserved", "nodes that it needs are"),
        ("SomethingNew", ""),
        ("", ""),
    ],
)
def test_reasons_are_told_in_words(reason: str, words: str) -> None:
    assert in_words(reason).startswith(words)
    assert bool(in_words(reason)) == bool(words)
