"""What a user sees while a stage trains and last, and what a site's login shell cannot spoil."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.ptys import Pty

from .conftest import ROOT, Cluster
from .mnrun import mnrun

pytestmark = [pytest.mark.sandbox, pytest.mark.slurm]


@pytest.fixture
def folder(sandbox: Cluster) -> Iterator[str]:
    name = f"tests/screen-{time.time_ns()}"
    yield f"/home/mluser/{name}"
    sandbox.end_jobs(name)
    sandbox.run(f"rm -rf {name}")


@pytest.fixture
def chatty(sandbox: Cluster) -> Iterator[None]:
    """The user's login shell prints JSON, for programs too."""
    startup = sandbox.home / ".bashrc"
    before = startup.read_text()
    startup.write_text('echo \'{"motd": "maintenance on Monday"}\'\n' + before)
    yield
    startup.write_text(before)


def test_a_failure_ends_with_its_cause_and_what_to_do(folder: str) -> None:
    run = mnrun("sft", mnrun_run_dir=folder, sft_trainer="verl.trainer.nothing")
    assert run.code == 1, run.text
    lines = [line.strip() for line in run.text.splitlines() if line.strip()]
    assert lines[-1].startswith("Failed: ")
    error, cause, advice = lines[-4:-1]
    assert error.endswith("No module named verl.trainer.nothing")
    assert cause.startswith("Cause: a module or a program is missing in the training environment")
    assert advice.startswith("What to do: Install it there")
    begin = next(at for at, line in enumerate(lines) if line.startswith("The end of "))
    end = next(at for at, line in enumerate(lines) if line.startswith("Job "))
    assert end - begin <= 11
    assert end < len(lines) - 4


@pytest.mark.usefixtures("chatty")
def test_a_line_of_json_on_every_login_hides_no_answer(folder: str) -> None:
    run = mnrun("status", mnrun_run_dir=folder)
    assert (run.code, "Nothing has run in " in run.text) == (0, True), run.text
    checked = mnrun("preflight", mnrun_run_dir=folder)
    assert checked.code == 0, checked.text
    assert "Checked: the model" in checked.text


def until(screen: Pty, pattern: str, seconds: float = 120) -> str:
    """Look at a terminal until its last line is like that; return that line."""
    deadline = time.monotonic() + seconds
    while not (screen.rows and re.search(pattern, screen.rows[-1])):
        if time.monotonic() > deadline:
            pytest.fail(f"no {pattern!r} after {seconds:g} s:\n" + "\n".join(screen.rows))
        screen.look(1.0)
    return screen.rows[-1]


def test_a_training_ticks_in_any_width_and_continues_without_who_looks(
    sandbox: Cluster, folder: str
) -> None:
    program = shutil.copy(Path(__file__).parent / "files" / "own_steps.py", sandbox.home)
    Path(program).chmod(0o644)
    given = {
        "mnrun_run_dir": folder, "mnrun_trainer": "command", "sft_trainer": "~/own_steps.py",
        "sft_options": {"max_steps": 2000, "pace": 0.3},
    }  # fmt: skip
    screen = Pty(120)
    before = termios.tcgetattr(screen.slave)
    command = [sys.executable, "-m", "mnrun", "sft", "-i", "inventory/sandbox"]
    # A terminal of its own, so that Ctrl-C in it reaches the command, as that of a user does.
    run = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *command, "-e", json.dumps(given)],
        cwd=ROOT, stdin=screen.slave, stdout=screen.slave, stderr=screen.slave,
    )  # fmt: skip
    try:
        until(screen, r"RUNNING ━*─* ?\d+/2000 · ETA .* s/step · saved .* ago")
        screen.resize(40)
        narrow = until(screen, r"^  \[sft\] RUNNING \d+/2000 · ETA [\dhms ]+$")
        assert len(narrow) < 40
        screen.resize(120)
        until(screen, r"limit in|s/step")
        screen.press("\x03")
        while run.poll() is None:
            screen.look(1.0)
        assert run.returncode == 130
        assert termios.tcgetattr(screen.slave) == before
        rows = screen.rows
        assert sum("RUNNING" in row for row in rows) == 1, rows
        assert "Interrupted. Jobs on the cluster continue:" in rows
    finally:
        run.kill()
        run.wait()
        screen.close()
    shell = subprocess.run(
        [sys.executable, "-m", "mnrun", "shell", "-i", "inventory/sandbox", "-e",
         json.dumps(given), "--", "hostname; pwd; exit 7"],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert shell.returncode == 7, shell.stderr
    assert shell.stdout == f"osk-gpu94\n{folder}\n"
