"""Several runs side by side: listed, compared, and removed only when nothing of them is alive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.filter.runs_table import runs_table
from ansible_collections.mnrun.train.plugins.module_utils.base.clock import Clock
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import (
    Invalid,
    Refused,
    Unknown,
)
from ansible_collections.mnrun.train.plugins.module_utils.base.fingerprint import fingerprint
from ansible_collections.mnrun.train.plugins.module_utils.base.process import Result
from ansible_collections.mnrun.train.plugins.module_utils.base.safe_name import DEFAULT_RUN
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    Attempt,
    Phase,
    Record,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.ledger import Ledger
from ansible_collections.mnrun.train.plugins.module_utils.runs.table import table
from ansible_collections.mnrun.train.plugins.module_utils.runs.training_runs import (
    TrainingRun,
    chosen,
    comparison,
    described,
    going,
    remove,
    require,
    size_of,
    training_runs,
)
from ansible_collections.mnrun.train.plugins.module_utils.slurm.client import SlurmClient


def nobody(command: list[str], seconds: float, stdin: str) -> Result:
    """A Slurm that does not answer."""
    return Result(1, "", "Unable to contact slurm controller")


SILENT = SlurmClient(nobody, Clock())


class Queue:
    """A Slurm with at most one job, which is running."""

    def __init__(self, *comments: str) -> None:
        self.comments = comments

    def __call__(self, command: list[str], seconds: float, stdin: str) -> Result:
        if command[0] != "squeue":
            return nobody(command, seconds, stdin)
        bar = command[-1].split("%T")[0][2:]
        table = [["JOBID", "STATE", "REASON", "START_TIME", "NODELIST", "NAME", "COMMENT"]]
        table += [["9", "RUNNING", "None", "1", "n1", "sft-1", text] for text in self.comments]
        return Result(0, "".join(f"{bar.join(row)}\n" for row in table), "")


IDLE = SlurmClient(Queue(), Clock())


def trained(
    folder: Path, spec: dict[str, Any], phase: Phase = Phase.SUCCEEDED, **metrics: float
) -> None:
    state = "COMPLETED" if phase is Phase.SUCCEEDED else "RUNNING"
    attempt = Attempt(1, "t", "sft-1", 1.0, phase, job_id="7", state=state, start=1.0)
    attempt.end = 2.0 if phase.ended else None
    output = {"step": 8, "path": "/p", "model": "/m", "metrics": metrics}
    record = Record("sft", "slurm", fingerprint(spec), spec, {}, [attempt], output)
    Ledger(folder, "sft", Clock()).save(record)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    trained(tmp_path, {"lr": 1}, loss=0.5)
    trained(tmp_path / "runs" / "fast", {"lr": 2}, loss=0.25)
    (tmp_path / "runs" / "no-run").mkdir()
    return tmp_path


def test_a_run_is_a_folder_with_a_record(base: Path) -> None:
    assert training_runs(base) == [
        TrainingRun(DEFAULT_RUN, base),
        TrainingRun("fast", base / "runs" / "fast"),
    ]
    assert training_runs(base / "nowhere") == []


def test_no_folder_can_pass_for_the_sites_own_run(base: Path) -> None:
    trained(base / "runs" / DEFAULT_RUN, {"lr": 3})
    assert [run.path for run in training_runs(base)] == [base, base / "runs" / "fast"]


def test_a_name_that_no_run_has_is_told_with_those_that_there_are(base: Path) -> None:
    with pytest.raises(Invalid, match=r"no run fats in .*\. Existing runs: default, fast\."):
        chosen(base, ["fats"])
    assert [run.name for run in chosen(base, ["fast"])] == ["fast"]


def shown(runs: list[dict[str, Any]], compared: Sequence[dict[str, Any]] = ()) -> list[str]:
    return runs_table({"table": table(runs), "comparison": compared})


def test_two_runs_are_compared_by_spec_and_metrics(base: Path) -> None:
    runs = [described(run, SILENT, Clock()) for run in chosen(base, [DEFAULT_RUN, "fast"])]
    (stage,) = comparison(*runs)
    assert stage["spec"] == ["lr: 1 -> 2"]
    assert stage["metrics"] == [{"loss": 0.5}, {"loss": 0.25}]
    lines = shown(runs, [stage])
    assert lines == ["sft", "  lr: 1 -> 2", "  loss: 0.5 in default, 0.25 in fast"]


def test_a_stage_of_one_run_only_is_said_to_be_missing_in_the_other(base: Path) -> None:
    Ledger(base, "sft", Clock()).folder(fingerprint({"lr": 1})).joinpath("record.json").unlink()
    runs = [described(run, SILENT, Clock()) for run in chosen(base, [DEFAULT_RUN, "fast"])]
    assert "  not run in default" in shown(runs, comparison(*runs))


def test_a_run_that_was_named_has_to_exist(base: Path) -> None:
    require(base / "runs" / "fast")
    require(base)
    with pytest.raises(Invalid, match=r"no run fsat in .*\. Existing runs: default, fast\."):
        require(base / "runs" / "fsat")
    with pytest.raises(Invalid, match=r"no run in .*/elsewhere"):
        require(base / "elsewhere")


def test_the_table_has_a_row_for_each_run(base: Path) -> None:
    runs = [described(run, SILENT, Clock()) for run in training_runs(base)]
    runs[0]["stages"][0]["progress"] = {"step": 8, "total": 8, "metrics": {"loss": 0.5}}
    head, first, second = shown(runs)
    assert head.split() == ["RUN", "LAST", "JOB", "SFT"]
    assert first.startswith("default  1970-01-01")
    assert first.endswith("8/8, loss 0.5")
    assert second.endswith("8/8, loss 0.25"), "by its result, without its log"
    assert shown([]) == ["Nothing has run yet."]


def test_a_run_that_is_over_can_go(base: Path) -> None:
    with pytest.raises(Unknown, match="Slurm does not list the jobs"):
        going(base, ["fast"], SILENT, Clock())
    (run,) = going(base, ["fast", "never-there"], IDLE, Clock())
    left_behind = base / "runs" / ".removed-fast"
    left_behind.mkdir()
    (left_behind / "file").write_text("x")
    assert size_of(run.path).files == 1
    remove(run)
    assert [path.name for path in (base / "runs").iterdir()] == ["no-run"]
    assert training_runs(base) == [TrainingRun(DEFAULT_RUN, base)]


@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.QUEUED, Phase.UNKNOWN])
def test_a_run_that_may_be_alive_stays(base: Path, phase: Phase) -> None:
    trained(base / "runs" / "fast", {"lr": 3}, phase)
    with pytest.raises(Refused, match="Not removed: fast has a job that is active or may be"):
        going(base, ["fast"], SILENT, Clock())


def test_a_run_whose_job_has_no_record_stays(base: Path) -> None:
    sign = f"mnrun run={base}/runs/fast stage=ppo fp=0123456789ab attempt=1 token=t0"
    with pytest.raises(Refused, match=r"in none of its records \(ppo, job 9\).*scancel 9"):
        going(base, ["fast"], SlurmClient(Queue(sign), Clock()), Clock())


@pytest.mark.parametrize("name", [DEFAULT_RUN, "..", "a/b", ""])
def test_only_a_run_with_a_name_can_go(base: Path, name: str) -> None:
    with pytest.raises(Invalid, match=r"The name of a run must be|cannot be removed"):
        going(base, [name], SILENT, Clock())


def behind_a_link(base: Path, where: Path) -> TrainingRun:
    where.parent.mkdir(parents=True, exist_ok=True)
    (base / "runs" / "fast").rename(where)
    (base / "runs" / "fast").symlink_to(where)
    return next(run for run in training_runs(base) if run.name == "fast")


def test_a_run_behind_a_link_goes_and_the_link_with_it(base: Path, tmp_path: Path) -> None:
    where = tmp_path / "scratch" / "exp"
    run = behind_a_link(base, where)
    (where.parent / ".removed-exp").mkdir()
    (where.parent / "other").mkdir()
    remove(run)
    assert [path.name for path in where.parent.iterdir()] == ["other"]
    assert [run.name for run in training_runs(base)] == [DEFAULT_RUN]


@pytest.mark.parametrize("target", [".", "..", "runs/fast"])
def test_a_link_to_another_run_removes_nothing_of_it(base: Path, target: str) -> None:
    (base / "runs" / "alias").symlink_to(base / target)
    if target == ".":
        (base.parent / ".mnrun").mkdir(exist_ok=True)
    run = TrainingRun("alias", base / "runs" / "alias")
    with pytest.raises(Refused, match="is a link to"):
        remove(run)
    assert [run.name for run in training_runs(base) if run.name != "alias"] == [DEFAULT_RUN, "fast"]


@pytest.mark.parametrize("kind", ["file", "link", "dangling", "full"])
def test_something_in_the_way_does_not_stop_a_removal(
    base: Path, kind: str, tmp_path: Path
) -> None:
    left = base / "runs" / ".removed-fast"
    if kind == "file":
        left.write_text("x")
    elif kind == "full":
        (left / "below").mkdir(parents=True)
    else:
        (tmp_path / "kept").mkdir()
        left.symlink_to(tmp_path / ("kept" if kind == "link" else "none"))
    (base / "runs" / "dangling").symlink_to("nowhere")
    run = next(run for run in training_runs(base) if run.name == "fast")
    remove(run)
    assert [run.name for run in training_runs(base)] == [DEFAULT_RUN]
    assert kind != "link" or (tmp_path / "kept").is_dir()


def test_the_table_shows_the_options_in_which_runs_differ(tmp_path: Path) -> None:
    same = {"data.batch": 8}
    trained(tmp_path, {"options": {**same, "optim.lr": 1e-05}})
    trained(tmp_path / "runs" / "a", {"options": {**same, "optim.lr": 2e-05, "a.x": True}})
    trained(tmp_path / "runs" / "b", {"options": {**same, "optim.lr": "2e-05", "b.x": [1]}})
    many = {f"o{number}": number for number in range(9)}
    trained(tmp_path / "runs" / "many", {"options": {**same, "optim.lr": 1e-05, **many}})
    runs = [described(run, SILENT, Clock()) for run in training_runs(tmp_path)]
    head, *rows = shown(runs)
    at = head.index("OPTIONS")
    assert [row[at:] for row in rows] == [
        "lr=1e-05",
        "sft.a.x=true lr=2e-05",
        'sft.b.x=["1"] lr=2e-05',
        "o0=0 o1=1 o2=2 o3=3 +6",
    ]
    assert "OPTIONS" not in shown(runs[:1])[0]
