"""Processes that are ended from outside."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base import process as base_process
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import Missing

# One process leaves the group and keeps the output open, as a daemon of a site's hook may.
HOOK = "setsid sleep 600 & echo $!; exec sleep 600"


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[str]]:
    monkeypatch.setattr(base_process, "_LAST_WORDS", 0.2)
    process = subprocess.Popen(
        ["/bin/sh", "-c", HOOK], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout
    daemon = int(process.stdout.readline())
    yield process
    os.kill(daemon, signal.SIGKILL)
    process.kill()
    process.wait(10)
    process.stdout.close()


def test_a_group_ends_though_one_that_left_it_holds_its_output(
    hanging: subprocess.Popen[str],
) -> None:
    base_process.end_group(hanging)
    assert hanging.wait(10) == -signal.SIGKILL


def test_a_group_of_another_user_keeps_no_one_waiting(
    hanging: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a hook that sudo runs: no signal of ours reaches it."""

    def refuse(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "killpg", refuse)
    base_process.end_group(hanging)
    assert hanging.poll() is None


def test_a_user_whom_the_directory_does_not_know_is_whom_the_session_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setenv("USER", "alice")
    monkeypatch.setenv("HOME", "/home/alice")
    made = base_process.clean_environment("/usr/bin")
    assert (made["USER"], made["LOGNAME"], made["HOME"]) == ("alice", "alice", "/home/alice")
    for name in ("USER", "LOGNAME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    assert base_process.clean_environment("/usr/bin")["USER"] == str(os.geteuid())


@pytest.mark.parametrize("shell", ["bash", "tcsh"])
def test_slurm_may_be_on_the_path_of_a_login_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shell: str
) -> None:
    tools = tmp_path / "slurm" / "bin"
    tools.mkdir(parents=True)
    (tools / "squeue").write_text("#!/bin/sh\n")
    (tools / "squeue").chmod(0o755)
    login = tmp_path / shell
    with_l = "[ $1 = -l ] && shift;" if shell == "bash" else ""
    # Its start-up file prints what it likes.
    login.write_text(
        f"#!/bin/sh\n{with_l} [ $1 = -c ] || exit 1\n"
        f"echo 'Welcome: /bin'; PATH=$PATH:{tools} exec /bin/sh \"$@\"\n"
    )
    login.chmod(0o755)
    monkeypatch.setattr(base_process, "_USUAL_PLACES", "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(base_process, "this_user", lambda: ("me", str(tmp_path), str(login)))
    base_process._path_of_the_login.cache_clear()
    try:
        assert base_process.find_tool("squeue") == str(tools / "squeue")
        with pytest.raises(Missing, match="start-up file"):
            base_process.find_tool("sbatch")
    finally:
        base_process._path_of_the_login.cache_clear()


def test_a_tool_that_is_not_slurms_starts_no_login_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_process, "_path_of_the_login", lambda: pytest.fail("a login"))
    with pytest.raises(Missing):
        base_process.find_tool("no-such-tool")
    # One of Slurm's commands is missing where the others are in the usual places.
    there = {"squeue": "/usr/bin/squeue"}
    monkeypatch.setattr(base_process, "_usual", there.get)
    with pytest.raises(Missing):
        base_process.find_tool("sacct")
