"""The GPU-hours of a run: what counts, and that no job is submitted that may pass the bound."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Refused
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    Attempt,
    Phase,
    Record,
)
from ansible_collections.mnrun.train.plugins.module_utils.slurm.judge import gpus_of_job
from ansible_collections.mnrun.train.plugins.module_utils.slurm.times import time_limit_of
from ansible_collections.mnrun.train.plugins.module_utils.stage.budget import spent

from tests.helpers.stage_run import Run

NOW, HOUR = 100_000.0, 3600.0


def attempt(phase: Phase, hours: float | None, start: bool = True, **more: Any) -> Attempt:
    begin = NOW - 10 * HOUR if start else None
    end = begin + hours * HOUR if begin is not None and hours is not None else None
    known = Attempt(1, "t", "n", 0.0, phase=phase, start=begin, end=end)
    return replace(known, **{"gpus": 4, "time_limit": 20 * HOUR, **more})


@pytest.mark.parametrize(
    ("one", "used", "reserved"),
    [
        (attempt(Phase.SUCCEEDED, 2), 8, 0),
        (attempt(Phase.FAILED, 0.5), 2, 0),
        (attempt(Phase.RUNNING, None), 40, 40),  # the rest of its 20 hours
        (attempt(Phase.RUNNING, None, time_limit=None), 40, 0),
        (attempt(Phase.QUEUED, None, start=False), 0, 80),
        (attempt(Phase.UNKNOWN, None, start=False), 0, 80),
        (attempt(Phase.GONE, None), 80, 0),  # nothing says when it ended
        (attempt(Phase.GONE, None, start=False), 0, 0),
        (attempt(Phase.SUCCEEDED, 2, gpus=0), 0, 0),  # a Ray job: its cluster's job counts
    ],
)
def test_what_a_job_took_and_may_still_take(one: Attempt, used: float, reserved: float) -> None:
    record = Record("sft", "slurm", "f", {}, attempts=[one, one])
    assert spent([record], NOW) == pytest.approx((2 * used, 2 * reserved))


def limited(run: Run, most: float, hours: float | None = 2.0) -> dict[str, Any]:
    seconds = hours * HOUR if hours is not None else None
    return {"checkpoints": run.rule, "gpus": 16, "time_limit": seconds, "gpu_hours_max": most}


def train(run: Run, seconds: float, **given: Any) -> list[str]:
    notes = run.present(**given).notes
    run.slurm.run(run.job)
    run.clock.sleep(seconds)
    run.slurm.end(run.job, "FAILED", "1:0")
    return notes


def test_no_job_is_submitted_that_may_pass_the_bound(run: Run) -> None:
    given = limited(run, 70)
    assert "0.0 of 70 GPU-hours are used; this job may take 32.0 (16 GPUs until" in str(
        train(run, 2 * HOUR, **given)
    )
    assert "32.0 of 70 GPU-hours are used" in str(train(run, HOUR, **given))
    with pytest.raises(Refused, match=r"may take 32\.0 GPU-hours .* 48\.0 of 70 GPU-hours"):
        run.present(**given)
    assert len(run.slurm.jobs) == 2
    # A shorter one fits.
    run.present(**limited(run, 70, 1.0))
    assert len(run.slurm.jobs) == 3


def test_without_a_time_limit_the_last_attempt_counts(run: Run) -> None:
    given = limited(run, 30, None)
    train(run, HOUR, **given)
    with pytest.raises(Refused, match="for as long as the last attempt"):
        run.present(**given)


def test_what_other_stages_of_the_run_took_counts_too(run: Run) -> None:
    train(run, 2 * HOUR, **limited(run, 60))
    with pytest.raises(Refused, match="of the stage ray may take"):
        run.present(**{**limited(run, 60), "stage": "ray", "checkpoints": None, "service": True})


def test_without_a_bound_nothing_is_said(run: Run) -> None:
    assert "GPU-hours" not in str(train(run, HOUR, **limited(run, 0)))
    assert run.attempt().gpus == 16


@pytest.mark.parametrize(
    ("options", "gpus"),
    [
        ({"nodes": "2", "gpus-per-node": "8"}, 16),
        ({"nodes": "2-4", "gpus-per-node": "h100:8"}, 32),
        ({"gres": "gpu:4"}, 4),
        ({"nodes": "2", "gpus": "h100:6"}, 6),
        ({"nodes": "2"}, 0),
    ],
)
def test_gpus_of_a_job(options: dict[str, str], gpus: int) -> None:
    assert gpus_of_job(options) == gpus


def test_a_time_limit_that_is_none_is_no_error() -> None:
    assert time_limit_of({"time": "1:00:00"}) == HOUR
    assert time_limit_of({"time": "soon"}) is time_limit_of({}) is None
