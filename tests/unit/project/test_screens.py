"""The screens in the documentation are what mnrun prints, in 80 columns."""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.filter.plan_lines import plan_lines
from ansible_collections.mnrun.train.plugins.filter.stage_summary import stage_summary
from ansible_collections.mnrun.train.plugins.module_utils.base.fingerprint import fingerprint
from ansible_collections.mnrun.train.plugins.module_utils.stage.conclude import conclude

from mnrun import closing
from mnrun.commands import COMMANDS
from mnrun.display import Display, Style
from mnrun.report.write import write
from mnrun.sites import title
from mnrun.stages import stage_table
from mnrun.terminal import Terminal
from tests.helpers.checkpoints import write_step
from tests.helpers.ptys import Pty
from tests.helpers.reports import recorded_runs
from tests.helpers.screens import Clock, Screen, play, result, stats, task
from tests.helpers.stage_run import SPEC, Run
from tests.unit.cli.test_live import event, queued, state
from tests.unit.cli.test_stages import a_run
from tests.unit.plugins.test_plan_lines import stage

pytestmark = pytest.mark.usefixtures("_in_utc")

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "docs/screens.md", ROOT / "docs/ja/screens.md"]
READMES = [ROOT / "README.md", ROOT / "README.ja.md"]
HOME = "/home/me/training/multinode"
SITE = title("/sites/mine", None)


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def shown(page: Path, command: str) -> list[str]:
    """What the page shows below a command, up to the block's end."""
    below = rf"^\$ {re.escape(command)}\n((?:(?!```).*\n)+)"
    found = re.search(below, page.read_text(), re.MULTILINE)
    assert found, f"{page.name} has no screen of {command}"
    return [row.rstrip() for row in found[1].splitlines()]


def on_a_terminal(*events: dict[str, Any]) -> tuple[list[str], Display]:
    """What a terminal of 80 columns shows while that happens, and the display."""
    screen = Pty(80, 50)
    with os.fdopen(os.dup(screen.slave), "w", encoding="utf-8") as stream:
        display = Display(Terminal(stream), Style(where=SITE), Clock())
        for one in events:
            display.handle(one)
        rows = screen.rows
        display.end()
    screen.close()
    return rows, display


def end(*events: dict[str, Any], code: int = 0) -> list[str]:
    """The rows of `mnrun sft`, with its last lines."""
    rows, display = on_a_terminal(play("SFT"), task("Train"), *events)
    options = argparse.Namespace(inventory=None, run=None, extra_vars=[], check=False,
                                 verbose=0, words=["sft"])  # fmt: skip
    last = Screen(tty=False)
    ending = closing.Ending(COMMANDS["sft"], options, "/sites/mine", code, 0, 11420.0)
    closing.close(ending, display.outcome, Terminal(last))
    return rows + last.rows()[:-1]


def a_plan() -> list[str]:
    results = [
        stage("sft", does="submitted", changes=["optim.lr 0.003 → 2e-05"], seconds=11400.0,
              aside=f"{HOME}/sft/checkpoints", finished=True, bytes=48_000_000_000),
        stage("ppo", does="submitted", changes=["another SFT"], steps=0, seconds=34200.0,
              bytes=105_000_000_000),
        stage("convert-sft", does="submitted"), stage("convert-ppo", does="submitted"),
    ]  # fmt: skip
    return plan_lines(results, 2, 8, start=1.0)


def a_training() -> list[str]:
    rows, _ = on_a_terminal(play("SFT"), task("Train"), event(queued()), event(state(40)))
    return rows


def an_end() -> list[str]:
    job = {"id": "12", "state": "COMPLETED", "phase": "succeeded"}
    model = f"{HOME}/sft/checkpoints/global_step_160/huggingface"
    metrics = {"first_loss": 6.398, "loss": 0.04171}
    output = {"step": 160, "model": model, "metrics": metrics}
    trained: dict[str, Any] = {"stage": "sft", "job": job, "output": output}
    ended = result("ok", changed=True, summary=stage_summary(trained), **trained)
    over = {"state": "COMPLETED", "phase": "succeeded"}
    return end(event(state(160, job=over)), ended, stats(login=2))


def a_failure(run: Run) -> list[str]:
    run.present(checkpoints=run.rule)
    write_step(run.rule.path, 20)
    error = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    run.log(f"step:22 - train/loss:0.5\n{error}\n", "stderr")
    run.slurm.end(run.job, "FAILED", "1:0")
    problem = conclude(run.stage(checkpoints=run.rule), 1, 1000).problem
    log = f"{HOME}/sft/logs/training_sft-{fingerprint(SPEC)[:8]}-1-12.err"
    msg = problem.replace(str(run.attempt().stderr), log)
    failed = result("failed", msg=msg, job={"stderr": log})
    over = {"state": "FAILED", "phase": "failed"}
    return end(event(state(22, job=over)), failed, stats(login=1), code=2)


def a_report(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr("mnrun.report.write.write_png", lambda *_: None)  # takes half a minute
    lines = list(write(recorded_runs(), folder / "mnrun-report", "site mine", "0.1.0"))
    return [line.replace(f"{folder}/", "") for line in lines]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_the_screens_are_what_is_printed(
    page: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screens = {
        "mnrun plan sft.optim.lr=2e-5": [SITE, "", *a_plan()],
        "mnrun sft": a_training(),
        "mnrun sft                  # done": an_end(),
        "mnrun sft                  # failed": a_failure(run),
        "mnrun status": [SITE, *stage_table(a_run())],
        "mnrun report default lr1e3 lr2e4": [SITE, *a_report(tmp_path, monkeypatch)],
    }
    for command, rows in screens.items():
        assert shown(page, command) == [row.rstrip() for row in rows]
        sentences = "  Job ", "  What to do: "  # which the terminal wraps
        assert max(len(row) for row in rows if not row.startswith(sentences)) <= 80


@pytest.mark.parametrize("page", READMES, ids=lambda page: page.name)
def test_the_plan_in_the_readme_is_the_same(page: Path) -> None:
    assert shown(page, "mnrun plan sft.optim.lr=2e-5") == a_plan()
