"""Batch scripts, run as slurmd would."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ansible_collections.mnrun.train.plugins.module_utils.record.contract import (
    Attempt,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.recorder import (
    with_end_recorder,
)


def attempt(job_id: str = "12") -> Attempt:
    return Attempt(3, "0123456789abcdef", "training_sft-01234567-3", 0.0, job_id=job_id)


def start(folder: Path, body: str, job_id: str = "12") -> subprocess.Popen[str]:
    """Run a script as slurmd would: by its path, in an environment with the job's id."""
    folder.mkdir(exist_ok=True)
    path = folder / f"script-{job_id}.sh"
    path.write_text(with_end_recorder(f"#!/bin/bash\n{body}\n", folder, attempt()))
    path.chmod(0o700)
    environment = {**os.environ, "SLURM_JOB_ID": job_id}
    return subprocess.Popen([path], env=environment, text=True, stdout=subprocess.PIPE)


def finish(job: subprocess.Popen[str]) -> tuple[int, str]:
    out, _err = job.communicate(timeout=60)
    return job.returncode, out
