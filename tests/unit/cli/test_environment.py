"""What ansible-playbook is given, whatever the caller's environment holds."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import termios
from pathlib import Path

import pytest

from mnrun.environment import WIDTH, settings, without_callers_settings

COLLECTION = Path("/site/ansible_collections/mnrun/train")
NAMES = ("LC_ALL", "LC_CTYPE", "LANG", "LANGUAGE")


@pytest.fixture
def caller(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A caller whose environment says nothing of locales and of Ansible."""
    for name in [*NAMES, *(name for name in os.environ if name.startswith("ANSIBLE_"))]:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    "named",
    [
        {},
        {"LC_ALL": "C"},
        {"LANG": "xx_YY.UTF-8"},  # as ssh hands it on from a machine that has it
        {"LANG": "C.UTF-8", "LC_CTYPE": "xx_YY.UTF-8"},
        {"LANG": "C.UTF-8", "LC_MESSAGES": "xx_YY.UTF-8"},
        {"LC_ALL": "de_DE.ISO-8859-1"},
    ],
)
def test_a_locale_that_is_not_there_is_replaced(
    caller: pytest.MonkeyPatch, tmp_path: Path, named: dict[str, str]
) -> None:
    for name, value in named.items():
        caller.setenv(name, value)
    assert settings(COLLECTION, tmp_path, False)["LC_ALL"].lower() in ("c.utf-8", "c.utf8")


def test_a_locale_that_will_do_is_the_callers(caller: pytest.MonkeyPatch, tmp_path: Path) -> None:
    caller.setenv("LANG", "C.UTF-8")
    assert "LC_ALL" not in settings(COLLECTION, tmp_path, False)


def test_settings_for_other_playbooks_are_hidden_and_come_back(
    caller: pytest.MonkeyPatch,
) -> None:
    ours = {
        "ANSIBLE_SSH_ARGS": "-F x",
        "ANSIBLE_REMOTE_USER": "me",
        "ANSIBLE_VAULT_PASSWORD_FILE": "v",
    }
    theirs = {"ANSIBLE_STRATEGY": "free", "ANSIBLE_INVENTORY": "y", "ANSIBLE_CALLBACKS": "z"}
    for name, value in {**ours, **theirs}.items():
        caller.setenv(name, value)
    with without_callers_settings():
        assert {name for name in os.environ if name.startswith("ANSIBLE_")} == set(ours)
    assert {**ours, **theirs}.items() <= dict(os.environ).items()


@pytest.mark.parametrize(("home", "moved"), [("/home/me", False), ("/home/" + "x" * 87, True)])
def test_sockets_of_ssh_have_a_short_path(
    caller: pytest.MonkeyPatch, home: str, moved: bool
) -> None:
    caller.setenv("HOME", home)
    given = settings(COLLECTION, Path("/tmp/mnrun-cli-ab"), False)
    assert (given.get("ANSIBLE_SSH_CONTROL_PATH_DIR") == "/tmp/mnrun-cli-ab/cp") is moved


@pytest.mark.parametrize(
    "other",
    [
        ("elsewhere", "ansible_host: login", ()),
        ("site", "ansible_host: login\n  ansible_ssh_common_args: -J bastion", ()),
        ("site", "ansible_host: login", ("-e", "ansible_ssh_common_args=-Jbastion")),
    ],
)
def test_an_open_connection_is_used_only_for_hosts_that_are_reached_alike(
    tmp_path: Path, other: tuple[str, str, tuple[str, ...]]
) -> None:
    def sockets(name: str, text: str, given: tuple[str, ...]) -> str:
        (tmp_path / name / "group_vars").mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "group_vars" / "all.yml").write_text(text)
        found = settings(COLLECTION, Path("/tmp/x"), False, str(tmp_path / name), given)
        return found["ANSIBLE_SSH_CONTROL_PATH_DIR"]

    mine = sockets("site", "ansible_host: login", ())
    assert mine == sockets("site", "ansible_host: login\nmnrun_nodes: 3", ("-e", "mnrun_nodes=4"))
    assert mine != sockets(*other)


def test_collections_of_the_caller_stay_behind_ours(
    caller: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    caller.setenv("ANSIBLE_COLLECTIONS_PATH", "/mine")
    assert settings(COLLECTION, tmp_path, False)["ANSIBLE_COLLECTIONS_PATH"] == "/site:/mine"


def test_tables_are_told_how_wide_a_terminal_is(caller: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 72, 0, 0))
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        caller.setattr(sys, "stdout", terminal)
        assert settings(tmp_path, tmp_path, False)[WIDTH] == "72"
    os.close(ours)


def test_in_a_pipe_lines_may_have_any_length(caller: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w", encoding="utf-8") as pipe:
        caller.setattr(sys, "stdout", pipe)
        assert WIDTH not in settings(tmp_path, tmp_path, False)
