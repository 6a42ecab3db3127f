"""`mnrun shell`: which node it takes, and the command that goes there."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.filter.shell_place import shell_place

LOGIN = {"ssh_executable": "ssh", "ssh_args": "-C -o ControlMaster=auto",
         "words": "-F /box/ssh_config login"}  # fmt: skip
# Instead of Slurm's: runs on this machine what is to run on the node.
SRUN = """#!/bin/sh
for word; do echo "$word" >> "$0.words"; done
while [ "$1" != bash ]; do shift; done
exec "$@"
"""


def stage(name: str, phase: str, job: str, *nodes: str, run_dir: str = "/run") -> dict[str, Any]:
    state = {"running": "RUNNING", "queued": "PENDING"}.get(phase, "COMPLETED")
    return {
        "stage": name,
        "job": {"id": job, "phase": phase, "state": state},
        "timing": {"job": job},
        "node_names": list(nodes),
        "record": f"{run_dir}/.mnrun/{name}/0123456789ab",
    }


SFT = stage("sft", "running", "12", "n1", "n2")
CLUSTER = stage("ray", "running", "20", "n3", "n4")
PPO = {**stage("ppo", "running", "raysubmit", "n3", "n4"), "timing": {"job": "20"}}


def words(*given: str) -> str:
    return base64.b64encode(json.dumps(given).encode()).decode()


@pytest.mark.parametrize(
    ("stages", "place", "chosen"),
    [
        ([SFT], "", ("sft", "12", "n1")),
        ([SFT], "n2", ("sft", "12", "n2")),
        ([CLUSTER, PPO], "", ("ppo", "20", "n3")),
        ([PPO, CLUSTER], "n4", ("ppo", "20", "n4")),
        ([CLUSTER, SFT], "", ("sft", "12", "n1")),
        ([CLUSTER, SFT], "ray", ("ray", "20", "n3")),
        ([stage("convert-sft", "running", "9", "n7"), SFT], "convert-sft",
         ("convert-sft", "9", "n7")),
    ],
)  # fmt: skip
def test_a_node_is_chosen(
    stages: list[dict[str, Any]], place: str, chosen: tuple[str, str, str]
) -> None:
    found = shell_place(stages, place, login=LOGIN)
    assert (found["stage"], found["job"], found["node"]) == chosen
    assert found["node"] in found["nodes"]


def test_where_nothing_runs_it_says_what_waits() -> None:
    waits = {**stage("sft", "queued", "12"), "why": "it waits for nodes to become free"}
    text = shell_place([stage("fetch", "succeeded", "3"), waits])["problem"]
    assert text == (
        "Nothing of this run is running, so there is no node for a shell. "
        "sft waits: job 12 PENDING: it waits for nodes to become free."
    )
    assert "no node for a shell" in shell_place([])["problem"]


def test_a_node_without_a_job_of_the_run_is_refused_with_those_that_have_one() -> None:
    assert shell_place([SFT, CLUSTER], "n9")["problem"] == (
        "No stage n9 of this run runs, nor any job of it on n9. "
        "Running: sft (job 12) on n1, n2; ray (job 20) on n3, n4."
    )


def test_ssh_reaches_the_login_node_as_ansible_does() -> None:
    argv = shell_place([SFT], words=words("hostname"), login=LOGIN)["argv"]
    assert argv[:-1] == ["ssh", "-C", "-o", "ControlMaster=auto", "-T", "-o", "LogLevel=ERROR",
                         "-F", "/box/ssh_config", "login"]  # fmt: skip
    assert "-t" in shell_place([SFT], terminal=True, login=LOGIN)["argv"]
    assert shell_place([SFT], login={})["argv"][:-1] == ["/bin/sh", "-c"]


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's folder with a bad name, on a machine whose srun is SRUN."""
    program = tmp_path / "bin" / "srun"
    program.parent.mkdir()
    program.write_text(SRUN)
    program.chmod(0o755)
    folder = tmp_path / 'it\'s a "run" $HOME'
    (folder / ".mnrun").mkdir(parents=True)
    (folder / ".mnrun" / "activate.sh").write_text("echo noise; export OF_THE_RUN=yes\n")
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    return folder


def runs(folder: Path, *given: str) -> subprocess.CompletedProcess[str]:
    entry = stage("sft", "running", "12", "n1", run_dir=str(folder))
    argv = shell_place([entry], words=words(*given))["argv"]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_a_command_runs_in_the_folder_with_the_environment_of_the_run(node: Path) -> None:
    done = runs(node, 'echo "$OF_THE_RUN {{ x }}"; pwd; echo ${SLURM_JOB_ID:-none}; exit 7')
    assert done.stdout.splitlines() == ["yes {{ x }}", str(node), "none"]
    assert done.returncode == 7
    asked = (node.parent / "bin" / "srun.words").read_text().splitlines()
    assert {"--jobid=12", "--nodelist=n1", "--overlap"} <= set(asked)
    assert "--pty" not in asked


def test_several_words_arrive_as_they_are(node: Path) -> None:
    done = runs(node, "printf", "%s|", "a b", "$HOME", "it's", "*")
    assert (done.stdout, done.returncode) == ("a b|$HOME|it's|*|", 0)


def test_without_an_activation_script_there_is_a_shell_all_the_same(node: Path) -> None:
    (node / ".mnrun" / "activate.sh").unlink()
    assert runs(node, "echo here").stdout == "here\n"


def test_a_shell_gets_a_terminal(node: Path) -> None:
    entry = stage("sft", "running", "12", "n1", run_dir=str(node))
    argv = shell_place([entry], terminal=True)["argv"]
    subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    asked = (node.parent / "bin" / "srun.words").read_text().splitlines()
    assert "--pty" in asked
    assert asked[-2].endswith("exec bash -i")
