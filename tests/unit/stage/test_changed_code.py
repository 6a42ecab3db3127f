"""Changed content is a reason to do a stage again, and it is shown; an earlier version's record,
which knows nothing of content, is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.mnrun.train.plugins.module_utils.base.fingerprint import fingerprint
from ansible_collections.mnrun.train.plugins.module_utils.stage.decide import Action
from ansible_collections.mnrun.train.plugins.module_utils.stage.module import as_recorded

from tests.helpers.stage_run import Run

OLD = {"options": {"lr": 1, "reward.path": "/a/r.py"}}


def spec(content: str, version: str = "0.5.0") -> dict[str, Any]:
    files = {"reward.path": content * 64}
    return {"options": {"lr": 1}, "files": files, "trainer_version": version}


def present(run: Run, new: dict[str, Any], before: dict[str, Any] | None = None) -> Any:
    request = run.stage(spec=new, spec_before=before or {}).request
    known = as_recorded(request, run.stage().ledger)
    return run.present(spec=known.spec)


def done(run: Run) -> None:
    run.slurm.run(run.job)
    run.slurm.end(run.job, "COMPLETED")
    run.clock.sleep(100)


def test_changed_content_is_done_again_and_shown(run: Run) -> None:
    present(run, spec("a"))
    done(run)
    assert present(run, spec("a")).action is Action.NOTHING
    again = present(run, spec("b"))
    assert again.action is Action.SUBMIT
    assert f"New since job 12: files.reward.path: {'a' * 12} -> {'b' * 12}." in again.why
    done(run)
    newer = present(run, spec("b", "0.6.0"))
    assert "trainer_version: 0.5.0 -> 0.6.0" in newer.why


def test_a_record_of_an_earlier_version_counts_as_it_is(run: Run) -> None:
    present(run, OLD)
    done(run)
    same = present(run, spec("a"), before=OLD)
    assert (same.action, same.record.fingerprint) == (Action.NOTHING, fingerprint(OLD))
    other = present(run, {**spec("a"), "options": {"lr": 2}}, before={"options": {"lr": 2}})
    assert other.action is Action.SUBMIT


def test_the_new_record_counts_more_than_the_old_one(run: Run, tmp_path: Path) -> None:
    present(run, OLD)
    done(run)
    run.present(spec=spec("a"))
    done(run)
    assert present(run, spec("a"), before=OLD).record.fingerprint == fingerprint(spec("a"))
