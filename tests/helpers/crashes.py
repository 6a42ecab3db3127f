"""A controller that dies, and submissions that arrive when it is gone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.fingerprint import fingerprint

from tests.helpers.stage_run import SPEC, Run


class Killed(BaseException):
    """The controller dies."""


def die(*_arguments: object) -> None:
    raise Killed


def folder_of(run: Run) -> Path:
    return run.stage().ledger.folder(fingerprint(SPEC))


def claim(run: Run, job_id: str, number: int = 1) -> None:
    """What the job writes when it begins."""
    token = run.record().attempts[number - 1].token
    text = json.dumps({"job_id": job_id, "token": token, "host": "n", "start": 1})
    (folder_of(run) / f"start-{number}.json").write_text(text)


def cut_off(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A controller that died before sbatch reached slurmctld."""
    with monkeypatch.context() as patch:
        patch.setattr(run.slurm, "_sbatch", die)
        with pytest.raises(Killed):
            run.present()


def arrive_late(run: Run, number: int = 1) -> None:
    """slurmctld works on a submission that nobody waits for any more."""
    stage, late = run.stage(), run.record().attempts[number - 1]
    arguments = stage.backend._arguments(folder_of(run), late)  # type: ignore[attr-defined]
    run.slurm._sbatch([*arguments, str(folder_of(run) / "script.sh")])
