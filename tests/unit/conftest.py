"""What the tests of the stage logic share: a run on a fake Slurm, in a folder with a bad name."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    Request,
)
from ansible_collections.mnrun.train.plugins.module_utils.slurm.backend import (
    SlurmBackend,
    SlurmJob,
)
from ansible_collections.mnrun.train.plugins.module_utils.slurm.client import SlurmClient

from tests.helpers.fake_slurm import FakeClock, FakeJob, FakeSlurm
from tests.helpers.stage_run import COMMENT, HOSTILE, SBATCH, SCRIPT, SPEC, Run


@pytest.fixture(autouse=True)
def _no_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sandbox's tests agree to everything beforehand, in the same process."""
    monkeypatch.delenv("MNRUN_YES", raising=False)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def slurm(clock: FakeClock) -> FakeSlurm:
    return FakeSlurm(clock)


@pytest.fixture
def run(tmp_path: Path, clock: FakeClock, slurm: FakeSlurm) -> Run:
    folder = tmp_path / HOSTILE
    folder.mkdir()
    request = Request(folder, "sft", "slurm", "training_sft", SPEC, directories=[folder / "logs"])
    return Run(folder, clock, slurm, request)


@pytest.fixture
def backend(slurm: FakeSlurm, clock: FakeClock) -> SlurmBackend:
    return SlurmBackend(SlurmClient(slurm, clock), SlurmJob(Path("/run"), "sft", SCRIPT, SBATCH))


@pytest.fixture
def job(slurm: FakeSlurm, clock: FakeClock) -> FakeJob:
    """The job of `an_attempt`."""
    slurm.jobs.append(FakeJob("12", "n-1", COMMENT, "/run", clock.now()))
    return slurm.jobs[0]
