"""Waiting for a job, telling its end, stopping it: with a clock that nobody has to wait for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base import logfile
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Invalid, Unknown
from ansible_collections.mnrun.train.plugins.module_utils.base.fingerprint import fingerprint
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import Phase
from ansible_collections.mnrun.train.plugins.module_utils.stage.absent import absent
from ansible_collections.mnrun.train.plugins.module_utils.stage.cause import Cause
from ansible_collections.mnrun.train.plugins.module_utils.stage.conclude import conclude
from ansible_collections.mnrun.train.plugins.module_utils.stage.decide import Action
from ansible_collections.mnrun.train.plugins.module_utils.stage.outcome import Outcome
from ansible_collections.mnrun.train.plugins.module_utils.stage.scope import Only
from ansible_collections.mnrun.train.plugins.module_utils.stage.status import Question, answer
from ansible_collections.mnrun.train.plugins.module_utils.stage.stop import StopRule

from tests.helpers.checkpoints import write_step
from tests.helpers.stage_run import SPEC, Run

OTHER = {"lr": 0.2}


def write_end(run: Run, code: int) -> None:
    folder = run.stage().ledger.folder(fingerprint(SPEC))
    data = {"job_id": "12", "token": run.attempt().token, "exit_code": code, "start": 1, "end": 2}
    (folder / "end-1.json").write_text(json.dumps(data))


LOGS = Path(__file__).parents[1] / "trainer" / "logs"

# waiting


def test_a_job_that_ends_well_is_settled(run: Run) -> None:
    run.present(checkpoints=run.rule)
    run.log("total number of steps 4\nstep:4 - train/loss:0.5\n")

    def end() -> None:
        write_step(run.rule.path, 4)
        run.slurm.end(run.job, "COMPLETED")

    run.clock.after(100, end)
    outcome = conclude(run.stage(checkpoints=run.rule), 1, 1000)
    assert (outcome.problem, outcome.output) == ("", run.record().output)
    assert outcome.output is not None
    assert (outcome.output["step"], outcome.output["metrics"]["loss"]) == (4, 0.5)
    assert run.attempt().phase is Phase.SUCCEEDED


def test_a_job_that_fails_is_told_with_its_cause(run: Run) -> None:
    run.present(checkpoints=run.rule)
    write_step(run.rule.path, 2)
    run.log("ValueError: no such thing\n", "stderr")
    run.slurm.end(run.job, "FAILED", "1:0")
    outcome = conclude(run.stage(checkpoints=run.rule), 1, 1000)
    assert outcome.problem == (
        "Job 12 ended as FAILED with exit code 1. The newest complete checkpoint is step 2; a "
        f"re-run resumes there.\nLog: {run.attempt().stderr}\nValueError: no such thing"
    )
    assert outcome.telling is not None
    assert outcome.telling.lines == ["ValueError: no such thing"]


def test_the_cause_and_what_to_do_are_the_last_lines(run: Run) -> None:
    run.present()
    run.log((LOGS / "torchrun.log").read_text(), "stderr")
    run.slurm.end(run.job, "FAILED", "1:0")
    outcome = conclude(run.stage(), 1, 1000)
    lines = outcome.problem.splitlines()
    assert lines[-3:-1] == [
        "RuntimeError: No available nccl backend found on device type cpu.",
        "Cause: a GPU that cannot be used (osk-gpu95).",
    ]
    assert lines[-1].startswith("What to do: Look at the node's GPUs")


@pytest.mark.parametrize(
    ("fault", "title"),
    [
        ("GPU 0: of 80,000 MiB, 20,476 MiB by ann (process 7, python) are in use",
         "a GPU that cannot be used"),
        ("it does not answer in the all-reduce before the training, for 20 s now",
         "the ranks lost each other (NCCL, gloo or their rendezvous)"),
    ],
)  # fmt: skip
def test_what_the_gate_refuses_has_a_cause_with_its_node(run: Run, fault: str, title: str) -> None:
    run.present()
    run.log(f"NodeError: osk-gpu95: {fault}\nmnrun: a node fails (sft_gate)\n", "stderr")
    run.slurm.end(run.job, "FAILED", "1:0")
    lines = conclude(run.stage(), 1, 1000).problem.splitlines()
    assert lines[-3:-1] == [f"NodeError: osk-gpu95: {fault}", f"Cause: {title} (osk-gpu95)."]


def test_what_an_error_led_to_is_shown_below_it(run: Run) -> None:
    run.present()
    run.log((LOGS / "ray_chain.log").read_text(), "stderr")
    run.slurm.end(run.job, "FAILED", "1:0")
    assert conclude(run.stage(), 1, 1000).problem.splitlines()[-2:] == [
        "KeyError: 'x'",
        (
            "  which led to ValueError: real_train_batch_size (30) must be divisible by minimal "
            "possible batch size (16)"
        ),
    ]


@pytest.mark.parametrize("state", ["CANCELLED", "TIMEOUT", "PREEMPTED"])
def test_a_log_tells_nothing_about_an_end_from_outside(run: Run, state: str) -> None:
    run.present()
    run.log((LOGS / "torchrun.log").read_text(), "stderr")
    run.slurm.end(run.job, state)
    outcome = conclude(run.stage(), 1, 1000)
    assert outcome.telling is None
    assert "nccl" not in outcome.problem
    assert f"Log: {run.attempt().stderr}, {run.attempt().stdout}" in outcome.problem


def test_success_without_a_result_is_a_failure(run: Run) -> None:
    run.present(checkpoints=run.rule)
    run.slurm.end(run.job, "COMPLETED")
    outcome = conclude(run.stage(checkpoints=run.rule), 1, 10)
    assert "ended as COMPLETED. Its result is not complete: " in outcome.problem
    assert "The logs are empty" in outcome.problem
    assert run.record().output is None


def test_a_job_without_a_trace_is_a_failure(run: Run) -> None:
    run.present()
    run.slurm.jobs.clear()
    assert "ended as GONE" in conclude(run.stage(), 1, 10).problem


def test_a_time_out_leaves_the_job_alone(run: Run) -> None:
    run.present()
    run.slurm.run(run.job)
    outcome = conclude(run.stage(), 1, 50)
    assert "wait_timeout is over, and job 12 is still" in outcome.problem
    assert run.clock.monotonic() == pytest.approx(50, abs=1)
    assert run.slurm.count("scancel") == 0


def test_what_somebody_else_cancels_is_known_at_once(run: Run) -> None:
    run.present()
    run.slurm.run(run.job)
    cancelled = []

    def cancel() -> None:
        other = run.stage()
        record = run.record()
        record.attempts[-1].cancelled_by = "mnrun cancel by me"
        run.slurm.end(run.job, "CANCELLED by 2000")
        other.ledger.save(record)
        cancelled.append(run.clock.now())

    run.clock.after(3605, cancel)
    outcome = conclude(run.stage(), 1, 9000)
    assert outcome.cause is Cause.CANCELLED_HERE
    assert run.clock.now() - cancelled[0] < 2


def test_an_end_record_makes_slurm_be_asked_at_once(run: Run) -> None:
    run.present()
    run.slurm.run(run.job)

    def end() -> None:
        run.slurm.end(run.job, "COMPLETED")
        write_end(run, 0)

    run.clock.after(5000, end)
    conclude(run.stage(), 1, 10_000)
    assert run.clock.monotonic() < 5002


def test_questions_become_rare_as_a_job_gets_old(run: Run) -> None:
    run.present()
    run.slurm.run(run.job)
    run.slurm.calls.clear()
    conclude(run.stage(), 1, 60)
    young = run.slurm.count("squeue")
    run.slurm.calls.clear()
    run.clock.sleep(100_000)
    conclude(run.stage(), 1, 3600)
    old = run.slurm.count("squeue")
    assert 10 < young < 40
    assert 100 < old < 150


def test_a_completing_job_is_waited_for_even_with_its_end_record(run: Run) -> None:
    run.present()
    run.slurm.run(run.job)
    run.job.state = "COMPLETING"
    write_end(run, 0)
    run.clock.after(20, lambda: run.slurm.end(run.job, "COMPLETED"))
    assert conclude(run.stage(), 1, 1000).problem == ""
    assert 20 <= run.clock.monotonic() < 26


def test_a_silence_is_borne_for_a_while_and_then_told(run: Run) -> None:
    run.present()
    run.slurm.run(run.job)
    run.slurm.down = True
    run.clock.after(500, lambda: setattr(run.slurm, "down", False))
    run.clock.after(1000, lambda: setattr(run.slurm, "down", True))
    with pytest.raises(Unknown, match="The state of job 12 has been unknown for 600 s"):
        conclude(run.stage(), 1, 100_000)
    assert 1600 <= run.clock.monotonic() < 1700
    assert run.attempt().phase is Phase.QUEUED


def test_an_attempt_that_does_not_exist_is_refused(run: Run) -> None:
    with pytest.raises(Invalid, match="has no job of attempt 1"):
        conclude(run.stage(), 1, 10)


def test_an_intent_without_a_job_is_not_waited_for(run: Run) -> None:
    run.slurm.down = True
    with pytest.raises(Unknown):
        run.present()
    with pytest.raises(Invalid, match="has no job of attempt 1"):
        conclude(run.stage(), 1, 10)


def test_an_attempt_that_was_settled_is_told_again_without_slurm(run: Run) -> None:
    run.present()
    run.slurm.end(run.job, "FAILED", "1:0")
    conclude(run.stage(), 1, 10)
    run.slurm.calls.clear()
    assert "ended as FAILED" in conclude(run.stage(), 1, 10).problem
    assert run.slurm.calls == []


# stopping


def stop(run: Run, signal: str = "", patience: float = 0, **only: str) -> Outcome:
    return absent(run.stage(spec={}), Only(only), StopRule(signal, patience), check=False)


def test_nothing_alive_is_seen_with_one_question(run: Run) -> None:
    assert stop(run).action is Action.NOTHING
    run.present()
    run.slurm.end(run.job, "COMPLETED")
    run.present()
    run.slurm.calls.clear()
    assert stop(run).action is Action.NOTHING
    assert [call[0] for call in run.slurm.calls] == ["squeue"]  # for jobs without a record


@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
def test_a_live_job_is_cancelled_and_seen_to_end(run: Run, state: str) -> None:
    run.present()
    run.job.state = state
    outcome = stop(run)
    assert (outcome.action, outcome.why) == (Action.STOP, "Stopped: job 12.")
    assert (run.attempt().phase, run.attempt().reason) == (Phase.CANCELLED, "stopped by mnrun")


def test_after_a_cancel_the_next_attempt_says_from_where_it_resumes(run: Run) -> None:
    """Who cancels does not know the stage's checkpoints."""
    run.present(checkpoints=run.rule)
    write_step(run.rule.path, 2)
    run.slurm.run(run.job)
    stop(run)
    outcome = run.present(checkpoints=run.rule)
    assert outcome.why.endswith("The next attempt resumes from step 2.")


def test_a_running_job_gets_a_signal_first(run: Run) -> None:
    run.present()
    run.slurm.run(run.job)
    stop(run, "USR1", 30)
    assert run.attempt().phase is Phase.SUCCEEDED
    assert [call for call in run.slurm.calls if call[0] == "scancel"] == [
        ["scancel", "--batch", "--signal=USR1", "12"]
    ]


def test_a_signal_that_is_ignored_is_followed_by_the_end(run: Run) -> None:
    run.present()
    run.slurm.run(run.job)
    run.slurm.ignores = frozenset({"USR1"})
    stop(run, "USR1", 30)
    assert run.attempt().phase is Phase.CANCELLED
    assert 30 <= run.clock.monotonic() < 40


def test_a_job_that_does_not_end_is_reported(run: Run) -> None:
    run.present()
    run.slurm.run(run.job)
    run.job.state = "COMPLETING"
    run.slurm.ignores = frozenset({""})
    with pytest.raises(Unknown, match=r"still COMPLETING on osk-gpu.*administrators"):
        stop(run)
    assert not run.attempt().settled


def test_without_an_answer_nothing_is_called_stopped(run: Run) -> None:
    run.present()
    run.slurm.down = True
    with pytest.raises(Unknown):
        stop(run)
    assert not run.attempt().settled


def test_jobs_for_something_else_are_left_alone(run: Run) -> None:
    run.present(labels={"owner": "user"})
    outcome = stop(run, owner="ppo")
    assert (outcome.action, outcome.why) == (
        Action.NOTHING,
        "Job 12 was left alone: it is in use, or has another purpose.",
    )
    assert stop(run, owner="user").action is Action.STOP


def test_what_would_be_stopped_is_told_and_not_done(run: Run) -> None:
    run.present()
    outcome = absent(run.stage(spec={}), Only(), StopRule(), check=True)
    assert (outcome.action, outcome.why) == (Action.STOP, "Would stop: job 12.")
    assert run.slurm.count("scancel") == 0


def test_a_job_that_ended_by_itself_needs_no_stop(run: Run) -> None:
    run.present()
    run.slurm.end(run.job, "COMPLETED")
    assert stop(run).action is Action.NOTHING
    assert run.attempt().phase is Phase.SUCCEEDED


def test_the_job_of_a_cut_off_submission_is_stopped_too(run: Run) -> None:
    run.present()
    record = run.record()
    record.attempts[0].job_id = ""
    record.attempts[0].state, record.attempts[0].phase = "INTENT", Phase.UNKNOWN
    run.stage().ledger.save(record)
    assert re.search("job 12", stop(run).why)
    assert run.job.state.startswith("CANCELLED")


@pytest.mark.parametrize("state", ["COMPLETED", "TIMEOUT", "CANCELLED"])
def test_what_a_settled_job_showed_is_in_its_record(
    run: Run, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.present(checkpoints=run.rule)
    run.log("total number of steps 4\nstep:1 - train/loss:2.5\nstep:3 - train/loss:0.5\n")
    run.slurm.end(run.job, state)
    conclude(run.stage(checkpoints=run.rule), 1, 100)
    read: list[Path] = []

    def reading(path: Path, *_: int) -> bytes:
        read.append(path)
        return b""

    monkeypatch.setattr(logfile, "_bytes", reading)
    entry = answer(Question(run.folder), lambda _: run.stage().backend, run.clock).stages[0]
    assert (entry["progress"]["step"], entry["progress"]["metrics"]["loss"]) in [(3, 0.5), (4, 0.5)]
    assert read == [], "the logs of a run that is over are long, and there may be hundreds"
