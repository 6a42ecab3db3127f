"""Commands as steps of a Slurm job: with a stand-in srun, which runs them here."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible_collections.mnrun.train.plugins.plugin_utils.srun_step import (
    AllocationOverError,
    Place,
    ThroughSrun,
    is_over,
    step_command,
    step_outcome,
)

PLACE = Place("12", "osk-gpu94")
# Runs the last words of its line, and says what srun says.
SRUN = """#!/bin/sh
echo "srun: a warning before" >&2
printf '%s\\n' "$@" > "$HOME/srun-args"
env > "$HOME/srun-env"
while [ "$1" != /bin/sh ]; do shift; done
"$@"
"""
GONE = "#!/bin/sh\necho 'srun: error: Unable to confirm allocation' >&2\nexit 1\n"


class Shell:
    """The login host: a shell of this machine, with stand-ins for Slurm's commands."""

    def __init__(self, home: Path) -> None:
        self.env = {"PATH": f"{home}/bin:{os.environ['PATH']}", "HOME": str(home),
                    "USER": "someone", "SLURM_JOB_ID": "7", "SRUN_CPUS_PER_TASK": "64"}  # fmt: skip

    def exec_command(
        self, cmd: str, in_data: bytes | None = None, sudoable: bool = True
    ) -> tuple[int, bytes, bytes]:
        assert not sudoable  # that would be a terminal
        done = subprocess.run(
            ["/bin/bash", "-c", cmd],
            input=in_data or b"must not be read",
            env=self.env,
            capture_output=True,
            check=False,
            timeout=20,
        )
        return done.returncode, done.stdout, done.stderr


class Connection(ThroughSrun, Shell):
    """The mixin over that host."""

    become = None
    job: Any = "12"

    def get_option(self, name: str) -> Any:
        return {"job": self.job, "node": "osk-gpu94"}[name]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    tool(tmp_path, "srun", SRUN)
    return tmp_path


def tool(home: Path, name: str, text: str) -> None:
    path = home / "bin" / name
    path.write_text(text)
    path.chmod(0o755)


@pytest.mark.parametrize(
    "command",
    [
        "echo 'it'\\''s'; echo \"$HOME\" >&2; exit 3",
        "printf 'no newline' >&2; kill -9 $$",
        "exit 255",
    ],
)
def test_a_command_is_what_it_is_without_srun(home: Path, command: str) -> None:
    direct = subprocess.run(
        ["/bin/sh", "-c", command], env={"HOME": str(home)}, capture_output=True, check=False
    )
    code, out, err = Connection(home).exec_command(command)
    expected = direct.returncode if direct.returncode >= 0 else 128 - direct.returncode
    assert code == expected
    assert out == direct.stdout
    assert err.replace(b"Killed\n", b"") == direct.stderr


def test_input_arrives_whole_and_no_input_is_an_end(home: Path) -> None:
    data = bytes(range(256)) * 4096
    assert Connection(home).exec_command("cat", data) == (0, data, b"")
    assert Connection(home).exec_command("cat") == (0, b"", b"")


def test_the_step_holds_nothing_and_sees_no_other_job(home: Path) -> None:
    Connection(home).exec_command("true")
    words = (home / "srun-args").read_text().split("\n")
    for word in ("--jobid=12", "--nodelist=osk-gpu94", "--overlap", "--gres=none", "--mem=0"):
        assert word in words
    seen = (home / "srun-env").read_text()
    assert "SLURM_JOB_ID" not in seen
    assert "SRUN_CPUS_PER_TASK" not in seen
    assert "USER=someone" in seen


def test_files_are_copied_both_ways(home: Path) -> None:
    connection = Connection(home)
    here, there, back = home / "here", home / "it's there", home / "back"
    for data in (b"\x00some\xff", b""):
        here.write_bytes(data)
        connection.put_file(str(here), str(there))
        connection.fetch_file(str(there), str(back))
        assert back.read_bytes() == data
    with pytest.raises(AnsibleError, match="No such file"):
        connection.fetch_file(str(home / "nothing"), str(back))


def test_a_job_that_is_over_is_told_from_a_srun_that_fails(home: Path) -> None:
    tool(home, "srun", GONE)
    tool(home, "scontrol", "#!/bin/sh\necho JobId=12 JobState=COMPLETED Reason=None\n")
    with pytest.raises(AllocationOverError, match=r"job 12 is over \(COMPLETED\)"):
        Connection(home).exec_command("true")
    tool(home, "scontrol", "#!/bin/sh\necho JobId=12 JobState=RUNNING\n")
    with pytest.raises(AnsibleConnectionFailure, match="Unable to confirm allocation") as caught:
        Connection(home).exec_command("true")
    assert not isinstance(caught.value, AllocationOverError)


@pytest.mark.parametrize(
    ("code", "shown", "state"),
    [
        (0, "JobId=1 JobState=RUNNING Reason=None", ""),
        (0, "JobId=1 JobState=COMPLETING", "COMPLETING"),
        (0, "JobId=1 JobState=NODE_FAIL", "NODE_FAIL"),
        (1, "slurm_load_jobs error: Invalid job id specified", "forgotten by Slurm"),
        (1, "slurm_load_jobs error: Unable to contact slurm controller", ""),
        (0, "", ""),
    ],
)
def test_only_slurm_says_that_a_job_is_over(code: int, shown: str, state: str) -> None:
    assert is_over(code, shown) == state


def test_a_command_that_did_not_end_has_no_outcome() -> None:
    assert step_outcome(b"half", b"mark\nslurmstepd: error: STEP 12.1 CANCELLED\n", "mark") is None
    assert step_outcome(b"", b"mark\nmark 0\n", "other") is None


@pytest.mark.parametrize("job", ["", "12; rm -rf ~", "None"])
def test_only_a_job_id_reaches_the_shell(home: Path, job: str) -> None:
    connection = Connection(home)
    connection.job = job
    with pytest.raises(AnsibleError, match="ansible_srun_job"):
        connection.exec_command("true")


def test_the_line_is_one_word_for_any_login_shell() -> None:
    words = shlex.split(step_command("echo a", PLACE, "mark", has_input=True))
    assert words[:2] == ["/bin/sh", "-c"]
    assert len(words) == 3


def test_ansible_doc_shows_them() -> None:
    names = ["mnrun.train.srun", "mnrun.train.srun_local"]
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-doc"), "-t", "connection", "--json", *names],
        env={**os.environ, "ANSIBLE_CONFIG": str(Path(__file__).parents[3] / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    shown = json.loads(done.stdout)
    for name in names:
        options = shown[name]["doc"]["options"]
        assert {"job", "node", "pipelining"} <= set(options)
        assert ("ssh_common_args" in options) == (name == names[0])
