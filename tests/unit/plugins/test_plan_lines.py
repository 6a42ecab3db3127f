"""The plan as people read it: few lines, no hashes, 80 columns."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.mnrun.train.plugins.filter.plan_lines import plan_lines

PLAN = {
    "does": "nothing", "first_step": 0, "steps": 58, "changes": [], "seconds": None, "aside": "",
    "finished": False, "bytes": 0, "start": None,
}  # fmt: skip


def stage(name: str, msg: str = "", **plan: Any) -> dict[str, Any]:
    return {"stage": name, "msg": msg, "plan": {**PLAN, **plan}}


def test_finished_stages_are_one_line_each() -> None:
    results = [stage("sft"), stage("ppo", steps=0), stage("convert-sft"), stage("convert-ppo")]
    assert plan_lines(results, 2, 8) == [
        "sft       done, 58 steps",
        "ppo       done",
        "convert   done: sft and ppo",
    ]


def test_a_changed_learning_rate_fits_on_twelve_lines() -> None:
    aside = "/home/somebody/with/a/long/path/training/multinode/sft/checkpoints"
    results = [
        stage(
            "sft", does="submitted", changes=["optim.lr 0.003 → 2e-05"], seconds=11400.0,
            aside=aside, finished=True, bytes=48_000_000_000,
        ),
        stage(
            "ppo", does="submitted", changes=["another SFT", "other weights of SFT"], steps=0,
            aside=aside.replace("sft", "ppo"), finished=True,
        ),
        stage("convert-sft", does="submitted"), stage("convert-ppo", does="submitted"),
    ]  # fmt: skip
    lines = plan_lines(results, 2, 8)
    assert lines == [
        "sft       train again: optim.lr 0.003 → 2e-05",
        "          58 steps, 2 x 8 GPUs, about 3h 10m, 51 GPU-hours",
        "          sets aside the finished work in",
        f"          {aside};",
        "          needs 48 GB for checkpoints",
        "ppo       train again: another SFT and other weights of SFT",
        "          2 x 8 GPUs",
        "          sets aside the finished work in",
        f"          {aside.replace('sft', 'ppo')}",
        "convert   then sft and ppo",
    ]
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 80


def test_what_runs_and_what_resumes_say_so() -> None:
    tomorrow = time.time() + 86400
    results = [
        stage("sft", "Attached to job 9, already running.", does="attached"),
        stage(
            "ppo", "Job 7 ended as TIMEOUT. The next attempt resumes from step 20.",
            does="resubmitted", first_step=20, seconds=90.0, start=tomorrow,
        ),
    ]  # fmt: skip
    then = time.strftime("%Y-%m-%d %H:%M", time.localtime(tomorrow))
    assert plan_lines(results, 1, 0) == [
        "sft       attach: Attached to job 9, already running",
        "ppo       resume from step 20: Job 7 ended as TIMEOUT",
        f"          58 steps, 1 node, about 1m 30s, would start {then}",
    ]


def test_gpu_hours_are_added_up() -> None:
    both: dict[str, Any] = {"does": "submitted", "seconds": 3600.0}
    lines = plan_lines([stage("sft", **both), stage("ppo", **both)], 1, 4, start=1.0)
    assert lines[-1] == "total     about 8.0 GPU-hours"
    assert lines[1].endswith("about 1h 00m, 4.0 GPU-hours, would start now")


def test_a_result_without_a_plan_is_left_out() -> None:
    assert plan_lines([{}, {"stage": "sft"}], 1, 1) == []
