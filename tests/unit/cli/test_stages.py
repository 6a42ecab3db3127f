"""The table of `mnrun status`: what is in it, and that it fits 80 columns."""

from __future__ import annotations

import time
from typing import Any, cast

from mnrun.contract import StageStatus
from mnrun.stages import metric, stage_table
from tests.helpers.statuses import stage_status

NOON = time.mktime((2026, 11, 27, 12, 0, 0, 0, 0, -1))
TIMING = {"now": NOON, "gpus": 16, "nodes": "osk-gpu[94-95]", "gpu_hours": 8.27,
          "step_seconds": None, "expected": None}  # fmt: skip


def stage(name: str, job: dict[str, Any], **known: Any) -> StageStatus:
    timing = {**TIMING, **known.pop("timing", {})}
    progress = known.pop("progress", None)
    entry: dict[str, Any] = {**stage_status(name, job, progress), "timing": timing}
    return cast("StageStatus", {**entry, **known})


def a_run() -> list[StageStatus]:
    """A run whose SFT is done, whose PPO trains, and whose conversion waits."""
    done = {"id": "12", "phase": "succeeded", "state": "COMPLETED", "start": NOON - 90000,
            "nodes": "osk-gpu[94-95]", "stdout": "/run/sft/logs/osk-sft-12.out"}  # fmt: skip
    trains = {"id": "osk-ppo-0123abcd-2", "phase": "running", "state": "RUNNING",
              "start": NOON - 600}  # fmt: skip
    waits = {"id": "15", "phase": "queued", "state": "PENDING", "reason": "Priority"}
    loss = {"first_loss": 6.3984, "loss": 0.04171, "first_val_loss": 7.0, "val_loss": 0.5}
    return [
        stage("convert-sft", waits, seconds=720.0, why="jobs with a higher priority come first",
              timing={"expected": NOON + 600, "gpu_hours": None, "nodes": ""}),
        stage("ppo", trains, seconds=600.0, attempt=2, timing={"step_seconds": 30.0},
              progress={"step": 20, "total": 60, "metrics": {"first_reward": 0.2, "reward": 0.4}},
              gpus={"text": "GPUs 85 % busy, 60 of 80 GiB"},
              **{"from": [{"stage": "sft", "job": "12"}]}),
        stage("sft", done, seconds=1862.0, record="/run/.mnrun/sft/0123456789ab",
              output={"path": "/run/sft/checkpoints/global_step_160"},
              progress={"step": 160, "total": 160, "metrics": loss}),
    ]  # fmt: skip


def test_two_lines_for_each_stage_in_the_order_of_the_pipeline() -> None:
    began = time.strftime("%b %d %H:%M", time.localtime(NOON - 90000))
    assert stage_table(a_run()) == [
        "STAGE        STATE      STEP     STARTED       ELAPSED  ETA      GPU-H",
        f"sft          COMPLETED  160/160  {began}  31m 02s           8.3",
        "             loss 6.398 → 0.04171 · job 12 · attempt 1",
        "             16 GPUs on osk-gpu[94-95]",
        "convert-sft  PENDING                           12m 00s",
        "             jobs with a higher priority come first (Priority)",
        "             expected to start 12:10 · job 15 · attempt 1",
        "ppo          RUNNING    20/60    11:50         10m 00s  20m 00s  8.3",
        "             reward 0.2 → 0.4 · job osk-ppo-0123abcd-2 · attempt 2",
        "             from sft (job 12) · 16 GPUs on osk-gpu[94-95]",
    ]


def test_it_fits_80_columns_whatever_is_in_it() -> None:
    long = {"id": "12", "state": "OUT_OF_MEMORY", "start": NOON - 1e7, "reason": "why " * 40,
            "nodes": f"a-node-with-a-long-name-[1-9,{'11,' * 20}33]"}  # fmt: skip
    rows = stage_table([*a_run(), stage("convert-ppo", long, seconds=400000.0)])
    assert max(map(len, rows)) <= 80
    assert not any("/run" in row for row in rows)


def test_paths_all_metrics_and_the_use_of_gpus_are_shown_with_v() -> None:
    rows = "\n".join(stage_table(a_run(), verbose=True))
    for text in ("result  /run/sft/checkpoints/global_step_160",
                 "log     /run/sft/logs/osk-sft-12.out", "record  /run/.mnrun/sft/0123456789ab",
                 "loss 6.398 → 0.04171 · val loss 7 → 0.5", "GPUs 85 % busy"):  # fmt: skip
        assert text in rows


def test_what_is_not_known_now_is_marked_and_says_why() -> None:
    unknown = stage("sft", {"id": "8", "state": "RUNNING"}, known=False, detail="squeue is silent")
    rows = stage_table([unknown])
    assert rows[1].split() == ["sft", "RUNNING?", "8.3"]
    assert rows[2].startswith("             as it was known last: squeue is silent · job 8")


def test_nothing_has_run() -> None:
    assert stage_table([]) == ["Nothing has run yet."]


def test_stages_without_a_place_in_the_pipeline_come_last() -> None:
    names = ["own", "ppo", "sft", "environment"]
    rows = stage_table([stage_status(name, {}) for name in names])
    assert [row for row in rows if not row.startswith(" ")][1:] == [
        "environment", "sft", "ppo", "own",
    ]  # fmt: skip


def test_the_metric_that_says_most() -> None:
    assert metric({"kl": 1, "loss": 0.5, "reward": 0.25}) == ["reward 0.25"]
    assert metric({"first_kl": 2, "kl": 1}, since_first=True) == ["kl 2 → 1"]
    assert metric({}) == []
