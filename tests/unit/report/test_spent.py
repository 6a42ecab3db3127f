"""What the time of a run was spent on."""

from __future__ import annotations

from typing import Any

import pytest

from mnrun.report.spent import Hours, Slice, hours, rows, share_trained
from mnrun.report.timeline import axis, in_order


def attempt(start: float | None, end: float | None, **more: Any) -> dict[str, Any]:
    return {"number": 1, "job": "7", "head_job": "", "phase": "succeeded", "submitted": 0.0,
            "start": start, "end": end, "nodes": 2, "gpus": 16, "times": None, "steps_logged": 0,
            **more}  # fmt: skip


def run(**stages: Any) -> dict[str, Any]:
    found = [{"stage": name, "attempts": attempts} for name, attempts in stages.items()]
    return {"time": 10_000.0, "stages": found}


def slices(found: dict[str, Any], stage: str) -> list[Slice]:
    return [one for row in rows(found) if row.stage == stage for one in row.slices]


TIMES = {"first": 110.0, "last": 200.0, "saves": [(150.0, 160.0)]}


def test_a_training_is_cut_by_its_steps_and_saves() -> None:
    found = run(sft=[attempt(100.0, 220.0, times=TIMES, steps_logged=10)])
    assert slices(found, "sft") == [
        Slice("queued", 0.0, 100.0),
        # The first step was logged at its end, and takes as long as the others.
        Slice("training", 100.0, 150.0),
        Slice("saving", 150.0, 160.0),
        Slice("training", 160.0, 200.0),
        Slice("stopping", 200.0, 220.0),
    ]


def test_without_a_tracker_a_job_is_not_divided_and_the_share_is_not_known() -> None:
    found = rows(run(sft=[attempt(100.0, 220.0)]))
    assert [one.kind for one in found[0].slices] == ["queued", "working"]
    assert share_trained(hours(found)) is None


def test_what_never_started_or_of_which_no_end_is_known_took_no_known_time() -> None:
    assert rows(run(sft=[attempt(None, None), attempt(5.0, None, phase="gone")])) == []


def test_a_job_that_waits_or_runs_lasts_until_now() -> None:
    waits = attempt(99_000.0, None, phase="queued")  # when Slurm expects it to start
    assert slices(run(sft=[waits]), "sft") == [Slice("queued", 0.0, 10_000.0)]
    runs = attempt(9_000.0, None, phase="running")
    assert slices(run(sft=[runs]), "sft")[-1] == Slice("working", 9_000.0, 10_000.0)


def test_a_ray_cluster_is_idle_where_no_ray_job_runs() -> None:
    cluster = attempt(100.0, 1000.0, job="5")
    ppo = [attempt(200.0, 500.0, head_job="5", gpus=0, nodes=0, times=TIMES | {"first": 300.0,
                   "last": 480.0, "saves": []}, steps_logged=1),
           attempt(600.0, 900.0, head_job="5", gpus=0, nodes=0),
           attempt(100.0, 900.0, head_job="6", gpus=0, nodes=0)]  # fmt: skip
    found = run(ppo=ppo, ray=[cluster])
    kinds = [(one.kind, one.start, one.end) for one in slices(found, "ray")]
    assert kinds == [
        ("queued", 0.0, 100.0), ("starting", 100.0, 200.0), ("starting", 200.0, 300.0),
        ("training", 300.0, 480.0), ("stopping", 480.0, 500.0), ("idle", 500.0, 600.0),
        ("working", 600.0, 900.0), ("idle", 900.0, 1000.0),
    ]  # fmt: skip


def test_hours_are_of_what_held_nodes_and_the_share_of_gpu_hours() -> None:
    times = {"first": 3600.0, "last": 7200.0, "saves": []}
    found = rows(run(sft=[attempt(3600.0, 10800.0, times=times, steps_logged=1)]))
    totals = hours(found)
    assert totals == {
        "queued": Hours(1.0, 0.0, 0.0),
        "training": Hours(1.0, 2.0, 16.0),
        "stopping": Hours(1.0, 2.0, 16.0),
    }
    assert share_trained(totals) == 0.5
    without = {kind: each._replace(gpu_hours=0.0) for kind, each in totals.items()}
    assert share_trained(without) == 0.5  # of node-hours, where GPUs were not recorded


@pytest.mark.parametrize("later", [1e3, 1e6, 1e9])
def test_a_day_without_work_takes_little_of_the_line(later: float) -> None:
    stages = {"sft": [attempt(0.0, 1000.0)], "ppo": [attempt(later, later + 1000, submitted=later)]}
    found = rows(run(**stages))
    line = axis(found)
    begin, middle, again, end = map(line.at, (0.0, 1000.0, later, later + 1000))
    assert begin < middle <= again < end
    assert again - middle < 0.1 * (end - begin)
    assert in_order(found) == ["sft", "ppo"]
