"""Processes that are ended from outside."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from collections.abc import Iterator

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base import process as base_process

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
