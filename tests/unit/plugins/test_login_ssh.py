"""How ssh reaches a node behind the login node: with the login node's own options, read by ssh."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.plugin_utils.login_ssh import (
    LoginSsh,
    head_args,
    login_words,
)

ROOT = Path(__file__).parents[3]
PLAIN = LoginSsh("login", None, None, None, True, "ssh", "", "", "")


def understood(login: LoginSsh, here: bool = False) -> dict[str, str]:
    """What ssh itself makes of the options, in the order in which Ansible gives them."""
    words = [word for text in head_args(login, here) for word in shlex.split(text)]
    done = subprocess.run(
        ["ssh", *words, "-G", "osk-gpu94"], capture_output=True, text=True, timeout=20, check=True
    )
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


def inner(login: LoginSsh) -> dict[str, str]:
    """The same of the ssh that carries it, once a shell has split its command."""
    command = understood(login)["proxycommand"]
    tokens = {"%h": "osk-gpu94", "%p": "22", "%%": "%"}
    words = shlex.split(re.sub("%.", lambda found: tokens[found[0]], command))
    assert words[-3:] == ["-W", "[osk-gpu94]:22", login.host]
    done = subprocess.run(
        [*words[:-3], "-G", login.host], capture_output=True, text=True, timeout=20, check=True
    )
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration that is not the user's own, in a folder with a blank."""
    path = tmp_path / "my config"
    path.write_text("Host login\n  HostName login.example.org\nHost *\n  ServerAliveInterval 77\n")
    return path


def test_another_configuration_is_that_of_both(config: Path) -> None:
    login = PLAIN._replace(ssh_common_args=f"-F {shlex.quote(str(config))}")
    assert understood(login)["serveraliveinterval"] == "77"
    assert inner(login)["hostname"] == "login.example.org"
    assert login_words(login) == ["-F", str(config), "login"]


def test_port_user_and_key_are_those_of_the_login_node(tmp_path: Path) -> None:
    key = tmp_path / "a key"
    key.touch()
    login = PLAIN._replace(port=2222, remote_user="someone", private_key_file=str(key))
    found = inner(login)
    assert (found["port"], found["user"], found["identityfile"]) == ("2222", "someone", str(key))
    assert understood(login)["port"] == "22"


@pytest.mark.parametrize("place", ["ssh_args", "ssh_common_args", "ssh_extra_args"])
@pytest.mark.parametrize(
    "jump", ["-J bastion", "-Jbastion", "-o ProxyJump=bastion", "-o 'proxyjump bastion'"]
)
def test_a_way_to_the_login_node_stays_the_way_to_it(place: str, jump: str) -> None:
    login = LoginSsh(**{**PLAIN._asdict(), place: jump})
    assert understood(login)["proxycommand"].startswith("ssh ")
    assert inner(login)["proxyjump"] == "bastion"


def test_other_options_hold_for_both() -> None:
    login = PLAIN._replace(
        ssh_args="-C -o ControlMaster=auto -o ControlPersist=60s",
        ssh_common_args="-o UserKnownHostsFile=/k/%h",
        ssh_extra_args="-o 'ConnectTimeout 17'",
        host_key_checking=False,
    )
    ours, theirs = understood(login), inner(login)
    assert (ours["connecttimeout"], theirs["connecttimeout"]) == ("17", "17")
    assert ours["userknownhostsfile"].startswith("/k/")
    assert theirs["stricthostkeychecking"] == "false"
    assert theirs["controlmaster"] == "false"
    assert ours["controlmaster"] == "auto"


def test_on_the_login_node_itself_nothing_is_in_between() -> None:
    login = PLAIN._replace(ssh_args="-C", ssh_common_args="-F none -J other")
    assert head_args(login, True) == ("-C", "-F none -J other", "")


SHOW = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.debug:
        msg: "found:{{ lookup('mnrun.train.login_ssh') | to_json | ansible.builtin.b64encode }}"
"""


def test_the_lookup_knows_every_name_and_place(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(SHOW)
    given = {
        "folder": "/x",
        "ansible_connection": "ssh",
        "ansible_ssh_common_args": "-F {{ folder }}/config",
        "ansible_ssh_port": 2222,
        "ansible_python_interpreter": sys.executable,
    }
    command = [str(Path(sys.executable).with_name("ansible-playbook")), str(tmp_path / "play.yml")]
    command += ["-i", "login.example.org,", "-e", json.dumps(given), "-e"]
    command += ['{"ansible_connection": "local"}', "-u", "carl", "--ssh-extra-args=-v"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    encoded = re.search(r"found:([\w+/=]+)", done.stdout)
    assert encoded, done.stdout
    found = json.loads(base64.b64decode(encoded[1]))
    assert found["words"] == "-p 2222 -l carl -F /x/config -v login.example.org"
    assert "ControlPersist=60s" in found["ssh_args"]
    assert found["head"]["ssh_common_args"] == "-F /x/config"
