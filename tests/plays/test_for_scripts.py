"""What scripts call, as they call it: JSON alone on standard output, and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.record.contract import Request
from ansible_collections.mnrun.train.plugins.module_utils.stage.conclude import conclude

from tests.helpers.checkpoints import write_step
from tests.helpers.fake_slurm import FakeClock, FakeSlurm
from tests.helpers.stage_run import SPEC, Run

ROOT = Path(__file__).parents[2]
SITE = """
login:
  hosts:
    here: {ansible_connection: local, ansible_python_interpreter: "%s"}
  vars: {mnrun_run_dir: %s, mnrun_base_dir: %s}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site whose run has a finished SFT; nothing of it needs Slurm any more."""
    folder = tmp_path_factory.mktemp("run")
    clock = FakeClock()
    request = Request(folder, "sft", "slurm", "sft", SPEC, directories=[folder / "logs"])
    run = Run(folder, clock, FakeSlurm(clock), request)
    run.present(checkpoints=run.rule)
    run.log("total number of steps 16\nstep:16 - train/loss:0.5\n")
    write_step(run.rule.path, 16)
    run.slurm.end(run.job, "COMPLETED")
    conclude(run.stage(checkpoints=run.rule), 1, 10)
    site = tmp_path_factory.mktemp("site")
    (site / "hosts.yml").write_text(SITE % (sys.executable, folder, folder))
    return site


def mnrun(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mnrun", *words, "-i", str(site)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["status", "runs"])
def test_standard_output_is_json_alone(site: Path, command: str) -> None:
    done = mnrun(site, command, "-o", "json", "-v")
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    (run,) = read["runs"]
    assert (read["command"], read["site"], run["name"]) == (command, str(site), "default")
    assert run["stages"][0]["result"]["step"] == 16
    assert "  ! " not in done.stderr, "a warning"


def test_a_failure_leaves_standard_output_empty(site: Path) -> None:
    done = mnrun(site, "runs", "nowhere", "-o", "json")
    assert (done.returncode, done.stdout) == (1, "")
    assert "There is no run nowhere" in done.stderr


def test_a_stage_that_is_done_ends_the_wait_with_0_and_another_with_1(site: Path) -> None:
    done = mnrun(site, "wait", "sft")
    assert (done.returncode, "sft: Job 12 COMPLETED" in done.stdout) == (0, True), done.stdout
    done = mnrun(site, "wait", "ppo")
    assert done.returncode == 1
    assert "Nothing of the stage ppo was submitted" in done.stdout
