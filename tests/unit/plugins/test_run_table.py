"""The tables of runs: on a terminal they fit, in a pipe each run is one line."""

from __future__ import annotations

import pytest
from ansible_collections.mnrun.train.plugins.plugin_utils import run_table
from ansible_collections.mnrun.train.plugins.plugin_utils.run_table import columns

from mnrun import environment

HEAD = ["RUN", "LAST JOB", "SFT", "PPO"]
LONG = ["default", "now", "160/160, loss 0.038", "20/20, sampled score 0.961, from sft (job 3)"]
SHORT = ["b", "-", "-", "FAILED, 3/20"]


def test_a_table_that_fits_is_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(run_table.WIDTH, "80")
    assert columns([HEAD, SHORT]) == ["RUN  LAST JOB  SFT  PPO", "b    -         -    FAILED, 3/20"]


def test_in_a_pipe_each_run_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(run_table.WIDTH, raising=False)
    lines = columns([HEAD, LONG, SHORT])
    assert len(lines) == 3
    assert lines[1].endswith("from sft (job 3)")


def test_on_a_narrow_terminal_each_run_takes_several_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(run_table.WIDTH, "40")
    assert columns([HEAD, LONG, SHORT]) == [
        "default  now",
        "  sft  160/160, loss 0.038",
        "  ppo  20/20, sampled score 0.961, from",
        "       sft (job 3)",
        "b  -",
        "  ppo  FAILED, 3/20",
    ]


def test_the_command_line_and_the_table_mean_the_same_variable() -> None:
    assert environment.WIDTH == run_table.WIDTH
