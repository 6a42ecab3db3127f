"""What a user sees last, and what a site's login shell cannot spoil."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from .conftest import Cluster
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
