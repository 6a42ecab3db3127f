"""What `mnrun status` shows of a stage: the same as its own end, whichever attempt did it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Invalid
from ansible_collections.mnrun.train.plugins.module_utils.base.fingerprint import fingerprint
from ansible_collections.mnrun.train.plugins.module_utils.runs.table import table
from ansible_collections.mnrun.train.plugins.module_utils.stage.conclude import conclude
from ansible_collections.mnrun.train.plugins.module_utils.stage.describe import line
from ansible_collections.mnrun.train.plugins.module_utils.stage.status import Question, answer

from mnrun.stages import stage_table
from tests.helpers.checkpoints import write_step
from tests.helpers.stage_run import Run

BEGUN = "total number of steps 16\nstep:1 - train/loss:6.5\nstep:{0} - train/loss:0.5\n"
RESUMED = "total number of steps 16\n"


def entry(run: Run, **question: Any) -> dict[str, Any]:
    backend = run.stage().backend
    return answer(Question(run.folder, **question), lambda _record: backend, run.clock).stages[0]


def attempt(run: Run, log: str, state: str, step: int = 0, **changes: Any) -> None:
    run.present(checkpoints=run.rule, **changes)
    run.log(log)
    if step:
        write_step(run.rule.path, step)
    run.slurm.end(run.job, state, "0:0" if state == "COMPLETED" else "1:0")
    conclude(run.stage(checkpoints=run.rule, **changes), len(run.slurm.jobs), 10)


def test_a_resume_without_a_step_shows_what_the_earlier_attempt_reached(run: Run) -> None:
    attempt(run, BEGUN.format(16), "FAILED", 16)
    attempt(run, RESUMED, "COMPLETED")
    seen = entry(run)
    assert seen["progress"]["metrics"] == seen["output"]["metrics"]
    assert seen["progress"]["metrics"] == {"first_loss": 6.5, "loss": 0.5}
    row = " ".join(stage_table([seen]))  # type: ignore[list-item]
    assert "16/16" in row
    assert "loss 6.5 → 0.5" in row


def test_a_running_attempt_that_resumed_is_where_the_earlier_one_left_off(run: Run) -> None:
    attempt(run, BEGUN.format(9), "FAILED", 8)
    run.present(checkpoints=run.rule)
    run.slurm.run(run.job)
    run.log(RESUMED)
    assert "step 8/16 · loss 0.5" in line(entry(run))
    run.log(f"{RESUMED}step:10 - train/loss:0.25\n")
    metrics = entry(run)["progress"]["metrics"]
    assert metrics == {"first_loss": 6.5, "loss": 0.25}


def test_a_cancelled_attempt_is_not_at_its_total(run: Run) -> None:
    attempt(run, RESUMED, "CANCELLED")
    (row,) = table([{"name": "a", "stages": [entry(run)]}])["rows"]
    assert row["cells"] == ["CANCELLED, 0/16"]


@pytest.mark.parametrize("value", [8, "8"])
def test_the_option_for_the_last_step_is_the_total(run: Run, value: object) -> None:
    spec = {"options": {"trainer.total_training_steps": value}}
    run.present(spec=spec, checkpoints=run.rule)
    run.slurm.run(run.job)
    path = run.record(spec).attempts[-1].stdout
    (run.folder / "logs").mkdir(exist_ok=True)
    with open(path, "w") as log:  # noqa: PTH123 - a name with hostile characters, as Slurm opens it
        log.write(BEGUN.format(3))
    assert "step 3/8" in line(entry(run))


@pytest.mark.parametrize("options", [[], {"trainer.total_training_steps": "all"}, {}, None])
def test_other_options_leave_the_total_as_the_trainer_announced_it(
    run: Run, options: object
) -> None:
    run.present(spec={"options": options})
    path = run.record({"options": options}).attempts[-1].stdout
    with open(path, "w") as log:  # noqa: PTH123 - a name with hostile characters, as Slurm opens it
        log.write(BEGUN.format(3))
    assert entry(run)["progress"]["total"] == 16


def started(run: Run) -> None:
    folder = run.stage().ledger.folder(fingerprint(run.request.spec))
    text = {"job_id": "12", "token": run.attempt().token, "host": "n", "start": 1.0}
    (folder / "start-1.json").write_text(json.dumps(text))


def test_a_job_that_recorded_its_start_was_running_when_last_known(run: Run) -> None:
    run.present()
    run.slurm.down, run.slurm.accounting_down = True, True
    assert "job 12 PENDING when last known" in line(entry(run))
    started(run)
    seen = entry(run)
    assert "job 12 RUNNING when last known" in line(seen)
    assert seen["job"]["start"] == 1.0
    again = entry(run, since=seen["digest"], wait=5.0)
    assert again["digest"] == seen["digest"]
    assert run.attempt().state == "PENDING", "a query changes no record"


def test_a_job_before_its_first_step_shows_what_it_wrote_last(run: Run) -> None:
    run.present()
    assert "last_line" not in entry(run)
    run.slurm.run(run.job)
    run.log(
        "Loading shard 1\n(TaskRunner pid=7) Loading shard 2\n"
        "[prompt] a\n[response] Error: b\n[ground_truth] 1\n[score] 0.0\n"
    )
    run.log("mnrun: note: W&B logs this run offline: no key\n\n", "stderr")
    assert line(entry(run)).endswith(" · Loading shard 2")
    run.log(f"{'x' * 5000}\n")
    assert line(entry(run)).endswith(f" · {'x' * 100}")
    run.log(BEGUN.format(3))
    assert "last_line" not in entry(run)


def with_service(run: Run, token: str = "") -> None:
    run.present()
    folder = run.stage().ledger.folder(fingerprint(run.request.spec))
    log = folder / "service-judge.log"
    log.write_text("loading\nready\n")
    one = {"name": "judge", "node": "n1", "address": "http://10.0.0.1:8000", "log": str(log),
           "up_seconds": 3.5}  # fmt: skip
    text = {"token": token or run.attempt().token, "services": [one]}
    (folder / "services-1.json").write_text(json.dumps(text))


def test_the_services_beside_a_training_are_shown(run: Run) -> None:
    with_service(run)
    seen = entry(run)
    assert seen["services"][0]["up_seconds"] == 3.5
    rows = stage_table([seen], verbose=True)  # type: ignore[list-item]
    assert "service judge on n1, http://10.0.0.1:8000" in "\n".join(rows)
    assert "judge" not in "\n".join(stage_table([seen]))  # type: ignore[list-item]


def test_the_log_of_a_service_is_read_in_place_of_the_trainings(run: Run) -> None:
    with_service(run)
    shown = entry(run, log_lines=1, log_service="judge")["log"]["lines"]
    assert [one["line"] for one in shown] == ["ready"]
    with pytest.raises(Invalid, match=r"has no service tool\. Its services: judge\."):
        entry(run, log_lines=1, log_service="tool")


def test_services_of_another_attempt_are_none_of_this_one(run: Run) -> None:
    with_service(run, token="another")  # noqa: S106
    assert entry(run)["services"] == []


def test_the_log_of_a_service_can_be_followed(run: Run) -> None:
    with_service(run)
    run.slurm.run(run.job)
    seen = entry(run, log_lines=1, log_service="judge")
    (path, offset), *_ = seen["log"]["offset"].items()
    with Path(path).open("a") as log:
        log.write("asked\n")
    more = entry(run, log_lines=1, log_service="judge", since=seen["digest"], wait=5.0,
                 log_offset={path: offset})  # fmt: skip
    assert [one["line"] for one in more["log"]["lines"]] == ["asked"]
