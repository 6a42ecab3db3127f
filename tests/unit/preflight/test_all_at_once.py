"""The checks go to their end: no fault hides another one, whatever kind it is of."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.finding import FAULT, OK
from ansible_collections.mnrun.train.plugins.module_utils.base.process import Result
from ansible_collections.mnrun.train.plugins.module_utils.preflight import check as checks
from ansible_collections.mnrun.train.plugins.module_utils.preflight.report import Report
from ansible_collections.mnrun.train.plugins.module_utils.trainer.estimate import Saves
from ansible_collections.mnrun.train.plugins.module_utils.trainer.reads import Reads

PARTITIONS = "PartitionName=gpu Default=YES State=UP MaxTime=7-00:00:00 MaxNodes=UNLIMITED"
NODES = "n1|gpu|8|64000|gpu:4|idle"
COMPLAINT = "sbatch: error: Batch job submission failed: Invalid account or account/partition"


def slurm(command: list[str], _seconds: float, _stdin: str) -> Result:
    if command[0] == "scontrol":
        return Result(0, PARTITIONS, "")
    if command[0] == "sinfo":
        return Result(0, NODES, "")
    if command[:2] == ["sbatch", "--test-only"]:
        return Result(1, "", COMPLAINT)
    if command[0] == "sacctmgr" and "assoc" in command:
        return Result(0, "team||normal\n", "")
    return Result(0, "", "")


def asked(tmp_path: Path, **more: Any) -> dict[str, Any]:
    nothing = {"model": "", "other_models": [], "train_files": [], "test_files": [],
               "trainers": [], "slurm": []}  # fmt: skip
    return {**nothing, **more}


def of(report: Report) -> list[tuple[str, str, str]]:
    return [(one.level, one.part, one.what) for one in report.findings()]


def test_a_partition_an_account_a_model_and_each_file_at_once(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n")
    request = {"stage": "sft", "options": {"partition": "gpuu", "account": "nope"}}
    report = checks.check(
        asked(
            tmp_path,
            model=str(tmp_path / "none"),
            train_files=[str(tmp_path / "none.parquet"), str(tmp_path / "rows.csv")],
            slurm=[request],
        ),
        slurm,
    )
    found = of(report)
    assert [(level, part) for level, part, _ in found] == [
        (FAULT, "Slurm"), (FAULT, "Slurm"), (FAULT, "model"), (FAULT, "data"), (FAULT, "data"),
    ]  # fmt: skip
    texts = [text for *_, text in found]
    assert "there is no partition gpuu" in texts[0]
    assert "Set one: mnrun_sbatch: {account: team}" in texts[1]
    assert "none.parquet" in texts[3]
    assert "is not parquet" in texts[4]


def test_a_check_that_ends_early_is_a_fault_among_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_: Any) -> list[str]:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr(checks, "model_faults", unreadable)
    given = asked(tmp_path, model="/m", train_files=[str(tmp_path / "none.parquet")])
    found = of(checks.check(given, slurm))
    assert [(level, part) for level, part, _ in found] == [(FAULT, "model"), (FAULT, "data")]
    assert "Permission denied" in found[0][2]


def test_what_is_right_is_named_beside_what_is_not(tmp_path: Path) -> None:
    request = {"stage": "sft", "options": {"partition": "gpu"}}
    given = asked(tmp_path, model=str(tmp_path / "none"), slurm=[request])

    def run(command: list[str], seconds: float, stdin: str) -> Result:
        test = command[:2] == ["sbatch", "--test-only"]
        return Result(0, "", "") if test else slurm(command, seconds, stdin)

    found = of(checks.check(given, run))
    assert (OK, "Slurm", "the Slurm requests of sft") in found
    assert [part for level, part, _ in found if level == FAULT] == ["model"]


@pytest.mark.parametrize(
    ("complaint", "others"),
    [
        ("sft: the trainer has no option trainer.bad; did you mean trainer.good?", ["data.x=1"]),
        ("sft: the trainer has no option data.x", ["trainer.bad=3"]),
        ("sft: something else", []),
    ],
)
def test_an_option_that_is_wrong_does_not_hide_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complaint: str, others: list[str]
) -> None:
    tried: list[list[str]] = []
    monkeypatch.setattr(checks, "reads_of", lambda trainer, *_: tried.append(trainer["overrides"]))
    trainer = {"stage": "sft", "overrides": ["+trainer.bad=3", "data.x=1"]}
    checks._reads_despite(trainer, complaint, [], [])
    assert [[one.lstrip("+") for one in each] for each in tried] == ([others] if others else [])


def test_the_accounting_is_asked_once_for_each_account(tmp_path: Path) -> None:
    asked_for: list[str] = []

    def run(command: list[str], seconds: float, stdin: str) -> Result:
        if command[0] == "sacctmgr" and "account" in command:
            asked_for.append(command[-2])
            return Result(0, "", "")
        test = command[:2] == ["sbatch", "--test-only"]
        return Result(0, "", "") if test else slurm(command, seconds, stdin)

    stages = {"sft": "a", "ray": "b", "convert": "a", "publish": "a"}
    requests = [{"stage": stage, "options": {"partition": "gpu", "account": account}}
                for stage, account in stages.items()]  # fmt: skip
    report = checks.check(asked(tmp_path, slurm=requests), run)
    assert asked_for == ["a", "b"]
    assert [text.partition(", which")[0] for text in report.warnings] == [
        "sft, convert, publish: account: the accounting knows no a",
        "ray: account: the accounting knows no b",
    ]


def test_a_stage_s_checkpoints_are_as_large_as_the_model_that_it_starts_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, rows in (("small", 10), ("large", 1000)):
        (tmp_path / name).mkdir()
        text = json.dumps({"w": {"shape": [rows, 4]}}).encode()
        header = struct.pack("<Q", len(text)) + text
        (tmp_path / name / "model.safetensors").write_bytes(header)
    trainers = [{"stage": "sft"}, {"stage": "ppo", "model": str(tmp_path / "large")}]
    reads = [Reads(one["stage"], [], [], [], 1, Saves(12, 1, 0, 1, 1)) for one in trainers]
    report = Report()
    checks._estimate({"model": str(tmp_path / "small"), "trainers": trainers}, reads, report)
    sizes = {stage: one["step_bytes"] for stage, one in report.checkpoints.items()}
    assert sizes == {"sft": 12 * 40, "ppo": 12 * 4000}
