"""The table "what a re-run does", upper half: whether a job is there, and whose it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import (
    Refused,
    Rejected,
    Unknown,
)
from ansible_collections.mnrun.train.plugins.module_utils.base.fingerprint import fingerprint
from ansible_collections.mnrun.train.plugins.module_utils.base.process import Result
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    INTENT,
    NOT_SUBMITTED,
    Phase,
    Record,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.ledger import Ledger
from ansible_collections.mnrun.train.plugins.module_utils.stage.decide import Action
from ansible_collections.mnrun.train.plugins.module_utils.stage.present import plan

from tests.helpers.crashes import Killed, die
from tests.helpers.stage_run import SPEC, Run

OTHER = {"lr": 0.2, "data": {"path": "train.parquet"}}
LOST = Result(1, "", "sbatch: error: Batch job submission failed: Socket timed out on send/recv")


Save = Callable[[Ledger, Record], None]


# nothing -> submits


def test_nothing_there_submits(run: Run) -> None:
    outcome = run.present()
    assert outcome.action is Action.SUBMIT
    assert run.slurm.count("sbatch") == 1
    attempt = run.attempt()
    assert (attempt.number, attempt.job_id, attempt.phase) == (1, "12", Phase.QUEUED)
    assert run.job.name == f"training_sft-{fingerprint(SPEC)[:8]}-1"
    assert run.job.comment == (
        f"mnrun run={run.folder} stage=sft fp={fingerprint(SPEC)[:12]} attempt=1 "
        f"token={attempt.token}"
    )
    assert attempt.stdout == f"{run.folder}/logs/{run.job.name}-12.out"
    assert (run.folder / "logs").is_dir()


def test_a_plan_writes_nothing_and_submits_nothing(run: Run) -> None:
    outcome = plan(run.stage())
    assert outcome.action is Action.SUBMIT
    assert list(run.folder.iterdir()) == []
    assert run.slurm.count("sbatch") == 0
    assert any("--test-only" in call for call in run.slurm.calls)


def test_a_plan_shows_script_folders_and_spec(run: Run) -> None:
    parts = {Path(part["after_header"]).name: part for part in plan(run.stage()).diff}
    assert parts["script.sh"]["after"] == (
        "#!/bin/bash\n#SBATCH --nodes=2\n#SBATCH --partition=gpu\nsrun train\n"
    )
    assert parts["folders"]["after"] == f"{run.folder}/logs\n"
    assert json.loads(parts["spec"]["after"])["lr"] == "0.1"


def test_a_plan_compares_with_what_was_submitted_last(run: Run) -> None:
    run.present()
    run.slurm.end(run.job, "FAILED", "1:0")
    run.sbatch["nodes"] = "1"
    (part,) = plan(run.stage()).diff
    assert ("--nodes=2" in part["before"], "--nodes=1" in part["after"]) == (True, True)
    assert "MNRUN" not in part["before"] + part["after"]


def test_a_refusal_is_not_an_attempt(run: Run) -> None:
    run.slurm.refusals = [Result(1, "", "sbatch: error: invalid partition specified: x")]
    with pytest.raises(Rejected, match=r"Existing partitions: gpu\*"):
        run.present()
    assert run.record().attempts == []
    assert run.present().action is Action.SUBMIT
    assert run.attempt().number == 1


def test_more_nodes_than_there_are_is_refused_before_it_waits_for_ever(run: Run) -> None:
    run.slurm.nodes = 1
    with pytest.raises(Rejected, match=r"nodes: 2 are requested, partition gpu allows 1"):
        plan(run.stage())
    with pytest.raises(Rejected):
        run.present()
    assert run.slurm.count("sbatch") == 0


# an intent without a job id -> adopts, or submits after a quiet window


@pytest.mark.parametrize("moment", ["queued", "started", "purged", "accounting without comments"])
def test_a_job_that_lost_its_controller_is_adopted(
    run: Run, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "save", _dies_at_second_save(Ledger.save))
        with pytest.raises(Killed):
            run.present()
    assert (run.attempt().state, run.attempt().job_id) == (INTENT, "")
    if moment != "queued":
        run.slurm.run(run.job)
    if moment in ("purged", "accounting without comments"):
        run.slurm.end(run.job, "FAILED", "1:0")
        run.slurm.comments_in_accounting = moment == "purged"
        run.clock.sleep(1000)
    outcome = run.present()
    ended = run.job.job_id != "12" or moment in ("purged", "accounting without comments")
    assert outcome.action is (Action.RESUBMIT if ended else Action.ADOPT)
    assert run.record().attempts[0].job_id == "12"
    assert run.slurm.count("sbatch") == (2 if ended else 1)


def _dies_at_second_save(save: Save) -> Save:
    saves: list[Record] = []

    def dying(self: Ledger, record: Record) -> None:
        saves.append(record)
        if len(saves) == 2:
            raise Killed
        save(self, record)

    return dying


def test_the_job_s_own_start_record_is_enough_to_adopt_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "save", _dies_at_second_save(Ledger.save))
        with pytest.raises(Killed):
            run.present()
    run.slurm.run(run.job)
    attempt = run.attempt()
    folder = run.stage().ledger.folder(fingerprint(SPEC))
    started = {"job_id": "12", "token": attempt.token, "host": "n", "start": 1}
    (folder / "start-1.json").write_text(json.dumps(started))
    run.job.comment = "cut off by the site"
    assert run.present().action is Action.ADOPT
    assert run.attempt().stdout == f"{run.folder}/logs/{run.job.name}-12.out"


def test_an_intent_without_a_job_is_submitted_again_after_the_quiet_window(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(run.slurm, "_sbatch", die)
        with pytest.raises(Killed):
            run.present()
    begun = run.clock.monotonic()
    outcome = run.present()
    assert outcome.action is Action.SUBMIT
    assert run.clock.monotonic() - begun >= 150
    assert [(a.number, a.state) for a in run.record().attempts] == [
        (1, NOT_SUBMITTED),
        (2, "PENDING"),
    ]
    assert len(run.slurm.jobs) == 1


def test_a_job_that_turns_up_in_the_quiet_window_is_adopted(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(run.slurm, "_sbatch", die)
        with pytest.raises(Killed):
            run.present()
    stage = run.stage()
    late = stage.backend._arguments(stage.ledger.folder(fingerprint(SPEC)), run.attempt())  # type: ignore[attr-defined]
    script = stage.ledger.folder(fingerprint(SPEC)) / "script.sh"

    def accept() -> None:
        run.slurm._sbatch([*late, str(script)])

    run.clock.after(100, accept)
    assert run.present().action is Action.ADOPT
    assert len(run.slurm.jobs) == 1


@pytest.mark.parametrize(
    "answer",
    [LOST, Result(None, "", ""), Result(0, "Welcome to the cluster\n", ""), Result(-9, "", "")],
)
def test_an_sbatch_that_did_not_end_cleanly_is_reconciled(run: Run, answer: Result) -> None:
    run.slurm.unclean = [answer]
    assert run.present().action is Action.ADOPT
    assert len(run.slurm.jobs) == 1
    assert run.attempt().job_id == "12"


def test_after_a_lost_sbatch_nothing_is_guessed_while_slurm_is_silent(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(_arguments: list[str]) -> Result:
        run.slurm.down = True
        return LOST

    with monkeypatch.context() as patch:
        patch.setattr(run.slurm, "_sbatch", lost)
        with pytest.raises(Unknown, match="run this again"):
            run.present()
    assert run.attempt().state == INTENT
    assert run.slurm.count("sbatch") == 1


# pending or running, same spec -> attaches


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "SUSPENDED", "CONFIGURING"])
def test_a_live_job_of_the_same_spec_is_attached_to(run: Run, state: str) -> None:
    run.present()
    run.job.state = state
    outcome = run.present()
    assert (outcome.action, outcome.action.changes) == (Action.ATTACH, False)
    assert run.attempt().state == state
    assert run.slurm.count("sbatch") == 1
    assert plan(run.stage()).action is Action.ATTACH


def test_a_job_that_is_just_ending_is_waited_for_before_anything_is_decided(run: Run) -> None:
    run.present()
    run.slurm.run(run.job)
    run.job.state = "COMPLETING"
    run.clock.after(10, lambda: run.slurm.end(run.job, "CANCELLED by 2000"))
    assert run.present().action is Action.RESUBMIT
    assert 10 <= run.clock.monotonic() < 20


@pytest.mark.parametrize("spec", [SPEC, OTHER])
def test_a_job_that_does_not_end_keeps_its_successor_out(run: Run, spec: object) -> None:
    run.present(spec=spec)
    run.slurm.run(run.job)
    run.job.state = "COMPLETING"
    with pytest.raises(Unknown, match=r"has been COMPLETING on osk-gpu\[94-95\] for 120 s"):
        run.present()
    assert run.slurm.count("sbatch") == 1


# pending or running, another spec -> refuses and shows the difference; replaces when told to


def test_a_live_job_of_another_spec_is_refused_with_the_difference(run: Run) -> None:
    run.present(spec=OTHER)
    with pytest.raises(Refused, match=r"lr: 0\.2 -> 0\.1"):
        run.present()
    with pytest.raises(Refused, match="Job 12"):
        plan(run.stage())
    assert run.slurm.count("sbatch") == 1


def test_replace_stops_the_other_one_and_sees_it_end(run: Run) -> None:
    run.present(spec=OTHER)
    run.slurm.run(run.job)
    outcome = run.present(replace=True)
    assert outcome.action is Action.REPLACE
    old, new = run.slurm.jobs
    assert (old.state, new.state) == ("CANCELLED by 2000", "PENDING")
    last = run.record(OTHER).last
    assert last is not None
    assert (last.phase, last.reason) == (Phase.CANCELLED, "stopped by mnrun to run other options")


def test_replace_submits_nothing_if_the_other_one_does_not_end(run: Run) -> None:
    run.present(spec=OTHER)
    run.slurm.run(run.job)
    run.slurm.ignores = frozenset({""})
    with pytest.raises(Unknown, match=r"cancelled 120 s ago and is still RUNNING on osk-gpu"):
        run.present(replace=True)
    assert run.slurm.count("sbatch") == 1


def test_replace_leaves_a_live_job_of_the_same_spec_alone(run: Run) -> None:
    run.present()
    assert run.present(replace=True).action is Action.ATTACH
    assert run.slurm.count("scancel") == 0
