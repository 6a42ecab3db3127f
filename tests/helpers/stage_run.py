"""A run of the stage logic on a fake Slurm, in a folder with a bad name."""

from __future__ import annotations

from dataclasses import dataclass, field
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

from ansible_collections.mnrun.train.plugins.module_utils.base.fingerprint import fingerprint
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    Attempt,
    CheckpointRule,
    Record,
    Request,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.ledger import Ledger
from ansible_collections.mnrun.train.plugins.module_utils.record.log_pattern import log_pattern
from ansible_collections.mnrun.train.plugins.module_utils.slurm.backend import (
    SlurmBackend,
    SlurmJob,
)
from ansible_collections.mnrun.train.plugins.module_utils.slurm.client import SlurmClient
from ansible_collections.mnrun.train.plugins.module_utils.stage.context import Stage
from ansible_collections.mnrun.train.plugins.module_utils.stage.outcome import Outcome
from ansible_collections.mnrun.train.plugins.module_utils.stage.present import present

from tests.helpers.fake_slurm import FakeClock, FakeJob, FakeSlurm

HOSTILE = 'a\'; echo "foo" $HOME %j `id` |x'
SCRIPT = "#!/bin/bash\nsrun train\n"
SBATCH = {"nodes": "2", "partition": "gpu"}
COMMENT = "mnrun run=/run stage=sft fp=0123456789ab attempt=1 token=t0"
SPEC = {"lr": 0.1, "data": {"path": "train.parquet"}}


@dataclass
class Run:
    """One run on a fake Slurm."""

    folder: Path
    clock: FakeClock
    slurm: FakeSlurm
    request: Request
    script: str = SCRIPT
    sbatch: dict[str, str] = field(default_factory=lambda: dict(SBATCH))

    def stage(self, **changes: Any) -> Stage:
        request = changed(self.request, **changes)
        job = SlurmJob(
            self.folder,
            request.stage,
            script=self.script,
            sbatch=self.sbatch,
            output=log_pattern(f"{self.folder}/logs/%x-%j.out", self.folder),
            error=log_pattern(f"{self.folder}/logs/%x-%j.err", self.folder),
        )
        backend = SlurmBackend(SlurmClient(self.slurm, self.clock), job)
        ledger = Ledger(self.folder, request.stage, self.clock)
        return Stage(request, backend, ledger, self.clock)

    def present(self, **changes: Any) -> Outcome:
        return present(self.stage(**changes))

    def record(self, spec: dict[str, Any] | None = None) -> Record:
        ledger = Ledger(self.folder, self.request.stage, self.clock)
        record = ledger.load(fingerprint(SPEC if spec is None else spec))
        assert record is not None
        return record

    def attempt(self) -> Attempt:
        last = self.record().last
        assert last is not None
        return last

    @property
    def job(self) -> FakeJob:
        return self.slurm.jobs[-1]

    def log(self, text: str, name: str = "stdout") -> None:
        path = Path(getattr(self.attempt(), name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    @property
    def rule(self) -> CheckpointRule:
        return CheckpointRule(self.folder / "checkpoints", [], hf=False)


def an_attempt(job_id: str = "12") -> Attempt:
    return Attempt(1, "t0", "n-1", FakeClock().now(), job_id=job_id)
