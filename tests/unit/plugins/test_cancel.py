"""What `mnrun cancel` ends, row by row, and how it shows that."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.filter.cancel_plan import cancel_plan
from ansible_collections.mnrun.train.plugins.filter.cancel_summary import cancel_summary
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import Phase

ENDED = ["succeeded", "failed", "cancelled", "gone"]
ALIVE = ["queued", "running", "ending", "unknown"]


def found(*stages: str, damaged: str = "", ppo: str = "running") -> dict[str, Any]:
    entries = [
        {"stage": stage, "job": {"phase": ppo if stage == "ppo" else "running"}} for stage in stages
    ]
    return {"stages": entries, "damaged": [{"stage": name} for name in damaged.split()]}


ALL = found("sft", "ray", "ppo")


@pytest.mark.parametrize(
    ("run", "stage", "ppo", "jobs"),
    [
        (ALL, "", True, ["sft", "ray"]),
        (ALL, "sft", False, ["sft"]),
        (ALL, "ppo", True, ["ray owner=ppo"]),
        (ALL, "ray", False, ["ray"]),
        (ALL, "publish", False, []),
        (found(), "", False, []),
        (found("sft", "convert-sft"), "", False, ["sft", "convert-sft"]),
        (found("ppo"), "", True, []),  # its cluster's record is gone
        (found("ray"), "ppo", False, ["ray owner=ppo"]),
        (found(damaged="sft"), "sft", False, ["sft"]),
        (found("ray", "ppo", damaged="ppo", ppo="failed"), "", True, ["ray"]),
        (found(damaged="ppo ray"), "ppo", True, ["ray owner=ppo"]),
        (found("sft", damaged="sft"), "", False, ["sft"]),  # of two specs; ended once
        *[(found("ray", "ppo", ppo=phase), "", False, ["ray"]) for phase in ENDED],
        *[(found("ray", "ppo", ppo=phase), "", True, ["ray"]) for phase in ALIVE],
    ],
)
def test_what_is_ended(run: dict[str, Any], stage: str, ppo: bool, jobs: list[str]) -> None:
    plan = cancel_plan(run, stage)
    assert plan["ppo"] is ppo
    words = [
        " ".join([job["stage"], *map("=".join, job["labels"].items())]) for job in plan["jobs"]
    ]
    assert words == jobs
    assert all(job["signal"] == ("USR1" if job["stage"] == "ray" else "") for job in plan["jobs"])


def test_every_phase_is_in_the_table() -> None:
    assert {*ENDED, *ALIVE} == {phase.value for phase in Phase}


STOPPED = {"stage": "sft", "action": "stopped", "msg": "Stopped: job 7.",
           "job": {"state": "CANCELLED"}}  # fmt: skip


@pytest.mark.parametrize("idle", [{"skipped": True}, {"action": "nothing", "msg": "No job."}])
def test_what_was_ended_is_shown_and_nothing_else(idle: dict[str, Any]) -> None:
    lines = cancel_summary([idle, STOPPED])
    assert lines[0] == "sft: Stopped: job 7. It ended as CANCELLED."
    assert lines[1] == ""
    assert "or starts again if there is none" in lines[2]
    assert len(lines) == 3
    assert "checkpoint" not in cancel_summary([{**STOPPED, "stage": "convert-sft"}])[2]


@pytest.mark.parametrize(
    ("stage", "line"),
    [("", "Nothing of this run was running."), ("ppo", "Nothing of ppo was running.")],
)
def test_that_nothing_was_ended_is_shown(stage: str, line: str) -> None:
    assert cancel_summary([{"skipped": True}], stage) == [line]
