"""What goes on by itself while its user waits, from where, on which nodes, and when it stops."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.stage.absent import absent
from ansible_collections.mnrun.train.plugins.module_utils.stage.cause import Cause
from ansible_collections.mnrun.train.plugins.module_utils.stage.conclude import conclude
from ansible_collections.mnrun.train.plugins.module_utils.stage.decide import Action
from ansible_collections.mnrun.train.plugins.module_utils.stage.outcome import Outcome
from ansible_collections.mnrun.train.plugins.module_utils.stage.scope import Only
from ansible_collections.mnrun.train.plugins.module_utils.stage.stop import StopRule
from ansible_collections.mnrun.train.plugins.module_utils.trainer.resume_point import make_resumable
from ansible_collections.mnrun.train.plugins.module_utils.trainer.words import TRACKER, VERL

from tests.helpers.checkpoints import write_step
from tests.helpers.stage_run import Run


def end(run: Run, state: str, code: str = "0:0", step: int = 0) -> Outcome:
    """Submit, train to a step, end; what its controller is told."""
    outcome = run.present(checkpoints=run.rule)
    assert outcome.attempt is not None
    run.slurm.run(run.job)
    if step:
        write_step(run.rule.path, step)
    run.slurm.end(run.job, state, code)
    return conclude(run.stage(checkpoints=run.rule), outcome.attempt.number, 100)


@pytest.mark.parametrize("state", ["TIMEOUT", "PREEMPTED", "NODE_FAIL"])
def test_what_was_not_its_fault_goes_on_by_itself(run: Run, state: str) -> None:
    outcome = end(run, state, step=3)
    assert outcome.retryable
    assert "The next attempt resumes from step 3." in outcome.problem


@pytest.mark.parametrize(
    ("state", "code"), [("FAILED", "1:0"), ("CANCELLED by 2000", "0:15"), ("OUT_OF_MEMORY", "0:9")]
)
def test_what_would_fail_again_or_a_person_ended_does_not(run: Run, state: str, code: str) -> None:
    outcome = end(run, state, code, step=3)
    assert not outcome.retryable
    assert "a re-run resumes there" in outcome.problem


def test_a_time_limit_without_a_new_step_stops_and_says_so(run: Run) -> None:
    assert end(run, "TIMEOUT", step=3).retryable
    outcome = end(run, "TIMEOUT")
    assert not outcome.retryable
    assert "It produced no new checkpoint, and another attempt would end" in outcome.problem
    assert "What to do: Allow more time" in outcome.problem


def test_a_trainer_that_does_not_resume_starts_over_and_says_so(run: Run) -> None:
    run.request.trainer.update(VERL, checkpoint={**VERL["checkpoint"], "resume": "none"})
    run.request = replace(
        run.request, checkpoints=run.rule._replace(trainer=dict(run.request.trainer))
    )
    given = {"checkpoints": run.request.checkpoints}
    for state in ("NODE_FAIL", "TIMEOUT"):
        run.present(**given)
        run.slurm.run(run.job)
        write_step(run.rule.path, 3)
        run.slurm.end(run.job, state, "0:0")
        number = run.attempt().number
        outcome = conclude(run.stage(**given), number, 100)
        assert outcome.retryable is (state == "NODE_FAIL")
        assert "resumes" not in outcome.problem
        if outcome.retryable:
            assert "starts over: this trainer does not resume." in outcome.problem
        else:
            assert "This trainer does not resume, and another attempt would" in outcome.problem
    again = run.present(**given)
    assert "starts from the beginning, as this trainer does not resume" in again.why
    kept = sorted(path.name for path in run.rule.path.glob("passed_over.*"))
    assert kept == ["passed_over.global_step_3", "passed_over.global_step_3-2"]


@pytest.mark.parametrize("same", [True, False])
def test_a_time_limit_that_costs_much_says_how_often_to_save(run: Run, same: bool) -> None:
    run.request.trainer.update(VERL, save_every={"option": "save_steps", "same_training": same})
    run.present(checkpoints=run.rule)
    run.slurm.run(run.job)
    write_step(run.rule.path, 10)
    run.log(
        "Total training steps: 100\n" + "".join(f"step:{n} - train/loss:1\n" for n in range(1, 31))
    )
    run.clock.sleep(6000)
    run.slurm.end(run.job, "TIMEOUT", "0:0")
    outcome = conclude(run.stage(checkpoints=run.rule), 1, 100)
    assert "resumes from step 10; step 30 had been reached" in outcome.problem
    assert "About 1h 06m of work were lost; save_steps: 3 loses at most" in outcome.problem
    assert ("that starts a new training" in outcome.problem) is not same


def test_what_an_attempt_took_says_how_often_the_next_one_saves(run: Run) -> None:
    every = {"option": "save_steps", "same_training": False, "open": True, "seconds": 300}
    run.request.trainer.update(VERL, save_every=every)

    def chosen() -> list[str]:
        return [path.read_text() for path in run.folder.glob(".mnrun/*/*/save_every")]

    run.present(checkpoints=run.rule)
    assert chosen() == [""]  # nothing is known yet
    run.slurm.run(run.job)
    write_step(run.rule.path, 10)
    run.log(
        "Total training steps: 100\n" + "".join(f"step:{n} - train/loss:1\n" for n in range(1, 31))
    )
    run.clock.sleep(1800)
    run.slurm.end(run.job, "TIMEOUT", "0:0")
    outcome = conclude(run.stage(checkpoints=run.rule), 1, 100)
    words = "About 20m 00s of work were lost; the next attempt saves every 5 steps (save_steps)."
    assert words in outcome.problem
    again = run.present(checkpoints=run.rule)
    assert again.action is Action.RESUBMIT
    assert chosen() == ["5"]  # beside the same record: it is the same training


def time_limit(run: Run, steps: int, every: int = 0) -> Outcome:
    """An attempt of an hour that makes so many steps, and saves every so many, to its end."""
    outcome = run.present(checkpoints=run.rule)
    assert outcome.attempt is not None
    run.slurm.run(run.job)
    run.log("".join(f"step:{n} - train/loss:1\n" for n in range(1, steps + 1)))
    if every:
        write_step(run.rule.path, steps // every * every)
    run.clock.sleep(3600)
    run.slurm.end(run.job, "TIMEOUT", "0:0")
    return conclude(run.stage(checkpoints=run.rule), outcome.attempt.number, 100)


def test_a_time_limit_before_the_first_checkpoint_is_retried_once_with_more_of_them(
    run: Run,
) -> None:
    every = {"option": "save_steps", "same_training": True, "open": True, "seconds": 600}
    run.request.trainer.update(VERL, save_every=every)
    first = time_limit(run, steps=60)
    assert first.retryable
    assert "starts over: there is no checkpoint yet" in first.problem
    assert "the next attempt saves every 10 steps (save_steps)" in first.problem
    second = time_limit(run, steps=60)  # whatever kept it from saving will do so again
    assert not second.retryable
    assert "It produced no new checkpoint" in second.problem


def test_what_may_be_lost_is_more_than_the_whole_attempt(run: Run) -> None:
    every = {"option": "save_steps", "same_training": True, "open": True, "seconds": 36000}
    run.request.trainer.update(VERL, save_every=every)
    first = time_limit(run, steps=60)
    assert first.retryable
    assert "the next attempt saves every 30 steps" in first.problem
    assert time_limit(run, steps=60, every=30).retryable


@pytest.mark.parametrize(
    ("more", "steps", "words"),
    [
        ({}, 60, "save_steps: 10 loses at most 10 minutes"),  # the user has set it
        ({"seconds": 36000}, 60, "save_steps: 30 loses at most 30 minutes"),
        ({"open": True}, 0, "It produced no new checkpoint"),  # nothing to go by
    ],
)
def test_what_a_user_has_to_set_is_named(
    run: Run, more: dict[str, object], steps: int, words: str
) -> None:
    every = {"option": "save_steps", "same_training": True, **more}
    run.request.trainer.update(VERL, save_every=every)
    outcome = time_limit(run, steps=steps)
    assert not outcome.retryable
    assert words in outcome.problem


def test_saving_more_often_is_no_advice_where_nothing_is_resumed(run: Run) -> None:
    every = {"option": "save_steps", "same_training": True}
    saved = {**VERL["checkpoint"], "resume": "none"}
    run.request.trainer.update(VERL, checkpoint=saved, save_every=every)
    assert "save_steps" not in time_limit(run, steps=60).problem


def test_a_node_that_fails_again_and_again_is_bounded_by_attempts(run: Run) -> None:
    assert [end(run, "NODE_FAIL").retryable for _ in range(3)] == [True, True, False]
    said = conclude(run.stage(checkpoints=run.rule), 3, 10).problem
    assert "3 attempts in a row brought no new checkpoint, so it is not retried" in said


def test_who_sees_the_end_second_joins_the_successor_of_the_first(run: Run) -> None:
    for _ in range(2):
        end(run, "NODE_FAIL")
    run.present(checkpoints=run.rule)
    second = conclude(run.stage(checkpoints=run.rule), 2, 10)
    assert second.retryable
    assert run.present(checkpoints=run.rule).action is Action.ATTACH
    assert len(run.slurm.jobs) == 3


def test_a_job_whose_rank_lost_a_dead_node_names_it_and_leaves_it_out(run: Run) -> None:
    run.present(checkpoints=run.rule)
    run.slurm.run(run.job)
    run.log("RuntimeError: [gloo] Connection closed by peer\n", "stderr")
    run.slurm.end(run.job, "FAILED", "1:0")
    run.slurm.node_states["osk-gpu95"] = "down*"
    outcome = conclude(run.stage(checkpoints=run.rule), 1, 100)
    assert (outcome.cause, outcome.retryable) == (Cause.NODE, True)
    assert "Cause: a node failed (osk-gpu95)." in outcome.problem

    run.slurm.node_states.update({"osk-gpu95": "idle", "osk-gpu96": "idle"})  # it is back
    again = run.present(checkpoints=run.rule)
    assert "It excludes osk-gpu95, which failed." in again.notes
    assert "--exclude=osk-gpu95" in [call for call in run.slurm.calls if call[0] == "sbatch"][-1]


def lose_a_node(run: Run) -> None:
    """An attempt that ends with its node, which is back at once."""
    run.present(checkpoints=run.rule)
    run.slurm.run(run.job)
    run.slurm.end(run.job, "NODE_FAIL")
    run.slurm.node_states.update({"osk-gpu95": "down*", "osk-gpu96": "idle"})
    conclude(run.stage(checkpoints=run.rule), run.attempt().number, 100)
    run.slurm.node_states["osk-gpu95"] = "idle"


def test_a_failed_node_is_left_out_of_the_next_attempt_only(run: Run) -> None:
    lose_a_node(run)
    run.present(checkpoints=run.rule)
    assert run.attempt().exclude == "osk-gpu95"
    run.slurm.run(run.job)
    run.slurm.end(run.job, "PREEMPTED")
    conclude(run.stage(checkpoints=run.rule), 2, 100)
    run.present(checkpoints=run.rule)
    assert (run.attempt().number, run.attempt().exclude) == (3, "")


def test_a_node_that_failed_a_while_ago_is_like_any_other(run: Run) -> None:
    lose_a_node(run)
    run.clock.sleep(901)
    run.present(checkpoints=run.rule)
    assert (run.attempt().number, run.attempt().exclude) == (2, "")


def test_without_enough_other_nodes_none_is_left_out(run: Run) -> None:
    run.slurm.node_states["osk-gpu95"] = "down*"
    end(run, "NODE_FAIL")
    run.slurm.node_states.update({"osk-gpu95": "idle", "osk-gpu96": "allocated"})
    assert run.present(checkpoints=run.rule).notes == []
    assert run.attempt().exclude == ""


def test_a_node_that_is_asked_for_by_name_is_not_left_out(run: Run) -> None:
    run.sbatch["nodelist"] = "osk-gpu[94-95]"
    run.slurm.node_states.update({"osk-gpu95": "down*", "osk-gpu96": "idle"})
    end(run, "NODE_FAIL")
    run.slurm.node_states["osk-gpu95"] = "idle"
    run.present(checkpoints=run.rule)
    assert run.attempt().exclude == ""


def test_what_mnrun_cancel_ended_says_so_and_starts_again_only_by_hand(run: Run) -> None:
    run.present(checkpoints=run.rule)
    run.slurm.run(run.job)
    stage = run.stage(checkpoints=run.rule)
    absent(stage, Only(), StopRule(), check=False, cancelled_by="mnrun cancel, alice on laptop")
    outcome = conclude(stage, 1, 10)
    assert (outcome.cause, outcome.retryable) == (Cause.CANCELLED_HERE, False)
    assert "(mnrun cancel, alice on laptop)" in outcome.problem
    assert "Cause: cancelled by you with `mnrun cancel`." in outcome.problem
    again = run.present(checkpoints=run.rule)
    assert again.action is Action.RESUBMIT
    assert "ended as CANCELLED" in again.why


# a resume that does nothing and reports success


def trapped(run: Run) -> Outcome:
    """Time limit at step 8 of 16, the end of an epoch; the successor ends well without a step."""
    run.present(checkpoints=run.rule)
    write_step(run.rule.path, 4)
    end(run, "TIMEOUT", step=8)
    outcome = run.present(checkpoints=run.rule)
    assert outcome.attempt is not None
    run.log("number of epochs 2, total number of steps 16\n")
    run.slurm.end(run.job, "COMPLETED")
    return conclude(run.stage(checkpoints=run.rule), outcome.attempt.number, 100)


def test_a_resume_that_did_nothing_is_not_done_and_goes_on_from_an_earlier_step(run: Run) -> None:
    outcome = trapped(run)
    assert (outcome.cause, outcome.retryable) == (Cause.SHORT, True)
    assert "newest complete checkpoint is step 8, not step 16" in outcome.problem
    again = run.present(checkpoints=run.rule)
    assert again.action is Action.RESUBMIT
    assert "resumes from a checkpoint before step 8" in again.why
    assert run.attempt().first_step == 4
    assert (run.rule.path / TRACKER).read_text() == "4"
    assert (run.rule.path / "passed_over.global_step_8").is_dir()


def test_an_expectation_that_is_wrong_does_not_go_round_in_circles(run: Run) -> None:
    trapped(run)
    run.present(checkpoints=run.rule)
    write_step(run.rule.path, 8)
    run.log("total number of steps 16\n")
    run.slurm.end(run.job, "COMPLETED")
    outcome = conclude(run.stage(checkpoints=run.rule), 3, 100)
    assert (outcome.cause, outcome.retryable) == (Cause.SHORT, False)


def test_a_last_step_that_an_option_sets_is_the_end(run: Run) -> None:
    rule = run.rule._replace(last_step=8)
    run.present(checkpoints=rule)
    run.log("total number of steps 16\n")
    write_step(rule.path, 8)
    run.slurm.end(run.job, "COMPLETED")
    assert run.present(checkpoints=rule).action is Action.NOTHING


# half-written and damaged checkpoints


def cut_off(run: Run, step: int) -> None:
    shard = next((run.rule.path / f"global_step_{step}").glob("optim*"))
    shard.write_bytes(shard.read_bytes()[:20])


def test_the_trainer_is_made_to_resume_from_the_newest_whole_step(run: Run) -> None:
    for step in (2, 4, 6):
        write_step(run.rule.path, step)
    cut_off(run, 6)
    said = make_resumable(run.rule)
    assert "of step 6 was skipped" in said
    assert (run.rule.path / TRACKER).read_text() == "4"
    assert (run.rule.path / "passed_over.global_step_6").is_dir()
    assert make_resumable(run.rule) == ""


def test_what_was_being_written_at_the_end_stays_for_the_trainer_to_write_again(run: Run) -> None:
    write_step(run.rule.path, 4)
    write_step(run.rule.path, 6)
    (run.rule.path / TRACKER).write_text("4")
    assert make_resumable(run.rule) == ""
    assert (run.rule.path / "global_step_6").is_dir()


def test_a_lost_tracker_is_written_again(run: Run) -> None:
    write_step(run.rule.path, 4)
    (run.rule.path / TRACKER).unlink()
    make_resumable(run.rule)
    assert (run.rule.path / TRACKER).read_text() == "4"


def test_with_no_whole_step_the_trainer_begins_anew(run: Run) -> None:
    write_step(run.rule.path, 4)
    cut_off(run, 4)
    make_resumable(run.rule)
    assert not (run.rule.path / TRACKER).exists()
    assert make_resumable(run.rule) == ""


def stop_itself(run: Run, cause: str, step: int = 0, **more: object) -> Outcome:
    """Submit, train to a step, and end as the observer in the job ends it."""
    outcome = run.present(checkpoints=run.rule)
    assert outcome.attempt is not None
    run.slurm.run(run.job)
    if step:
        write_step(run.rule.path, step)
    attempt = run.attempt()
    text = "No step came for 12 min after step 4; a step usually takes 1.0 s."
    own = {"token": attempt.token, "cause": cause, "text": text, "where": "rank 1 on n2"}
    found = {**own, **more}
    folder = run.stage().ledger.folder(run.record().fingerprint)
    (folder / f"stopped-{attempt.number}.json").write_text(json.dumps(found))
    (folder / f"stall-{attempt.number}-n2.json").write_text("{}")
    run.slurm.end(run.job, "FAILED", "143:0")
    return conclude(run.stage(checkpoints=run.rule), attempt.number, 100)


def test_a_training_that_stood_still_is_retried_and_its_evidence_named(run: Run) -> None:
    outcome = stop_itself(run, "stalled", step=3)
    assert outcome.cause is Cause.STALLED
    assert outcome.retryable
    assert "The next attempt resumes from step 3." in outcome.problem
    assert "Cause: the training stood still (rank 1 on n2)." in outcome.problem
    assert "No step came for 12 min" in outcome.problem
    assert "/stall-1-n2.json" in outcome.problem


def test_one_that_stands_still_again_and_again_is_not_retried_for_ever(run: Run) -> None:
    judged = [stop_itself(run, "stalled").retryable for _attempt in range(3)]
    assert judged == [True, True, False]


def test_what_another_attempt_or_a_hostile_file_says_counts_for_nothing(run: Run) -> None:
    assert stop_itself(run, "sft", step=3).cause is Cause.KILLED
    stop_itself(run, "stalled", step=4)
    folder = run.stage().ledger.folder(run.record().fingerprint)
    (folder / "stopped-3.json").write_text((folder / "stopped-2.json").read_text())
    assert end(run, "FAILED", "143:0").cause is Cause.KILLED


def test_one_that_diverged_is_retried_only_if_its_job_says_so_and_from_before(run: Run) -> None:
    stop_itself(run, "stalled", step=2)
    for again in (True, False):
        outcome = stop_itself(run, "diverged", step=4, since=3, again=again)
        assert outcome.cause is Cause.DIVERGED
        assert outcome.retryable is again
        assert run.attempt().first_step == 2
