"""A line of a megabyte, of whatever a job may repeat, holds nothing up."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.logfile import clean_lines, news
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import Attempt, Phase
from ansible_collections.mnrun.train.plugins.module_utils.stage.cause import Evidence, find
from ansible_collections.mnrun.train.plugins.module_utils.trainer.progress import read_progress
from ansible_collections.mnrun.train.plugins.module_utils.trainer.telling import (
    behind_last_step,
    find_telling,
)

PIECES = (
    "gloo ", "GCS ", "raylet ", "a", "a.", "Error", "x.Error(", "\x1b[", "\x1b]", "\x1b", "\r",
    "[rank0]: ", "(a pid=1) ", "ERROR 01-01 00:00:00 [a] ", "  | ", " ", 'File "', "1: ", "\u202e",
    "Traceback (most recent call last): ", "*** JOB 12 ON n CANCELLED AT x DUE TO ", ": line 1: ",
    "CalledProcessError: Command ", "step:1 - ", "Training Progress:", "ray::x (pid=1, ip=",
    "DataLoader worker (pid(s) 1, ", "root cause (above ", "[prompt] ",
)  # fmt: skip
FAILED = Attempt(1, "t", "n-1", 1.0, Phase.FAILED, "12", state="FAILED", exit_code=1)


@pytest.mark.parametrize("piece", PIECES)
def test_every_reader_of_logs_is_done_at_once(tmp_path: Path, piece: str) -> None:
    line = (piece * (1_000_000 // len(piece) + 1))[:1_000_000]
    log = tmp_path / "log"
    log.write_text(f"x\n{line}\n")
    begun = time.process_time()
    clean_lines(f"{line}\n")
    news(log, 0)
    read_progress([log])
    find_telling([log])
    find(Evidence(FAILED, telling=line, last_lines=(line, *behind_last_step([log]))))
    # 20 to 60 ms in all; what looks again and again takes minutes. The rest is for a busy machine.
    assert time.process_time() - begun < 2
