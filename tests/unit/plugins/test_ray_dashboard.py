"""The forwarding of the Ray dashboard: what it is given, and the ssh that it runs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.playbook.task import Task
from ansible_collections.mnrun.train.plugins.action.ray_dashboard import (
    ActionModule,
    hints,
    private_socket,
    ssh_command,
)
from ansible_collections.mnrun.train.plugins.module_utils.record.ray_head import Head

from mnrun.private_folder import private_folder
from tests.helpers.ray_heads import a_head

ROOT = Path(__file__).parents[3]
HEAD = Head.of(a_head(Path("/home/it's me")))
GIVEN = {"open": False, "ssh_args": "-J 'a b'", "user": "me", "key": "/k", "login": "login"}


def call(**arguments: Any) -> dict[str, Any]:
    task = Task()
    task.args = arguments
    task.check_mode = True
    connected = SimpleNamespace(_shell=SimpleNamespace(tmpdir="/tmp"))
    return ActionModule(task, connected, None, None, None, None).run()


def test_ssh_forwards_to_the_loopback_of_the_head() -> None:
    command = ssh_command(GIVEN, HEAD, Path("/tmp/mine/s"))
    assert command[-8:] == [
        "/tmp/mine/s:127.0.0.1:37174", "-J", "a b", "-i", "/k", "-l", "me", "osk-gpu94",
    ]  # fmt: skip


# As Ctrl-C may end it: nothing is removed.
KILLED = """
import os
from ansible_collections.mnrun.train.plugins.action.ray_dashboard import private_socket
with private_socket() as way:
    way.touch()
    os._exit(0)
"""


def test_the_socket_of_one_that_was_killed_goes_with_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}/collections", "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", KILLED], env=environ, check=True, timeout=60)
    assert len(list(tmp_path.glob("mnrun-cli-ssh-*/s"))) == 1
    with private_socket() as way:
        with private_folder():
            assert len(list(tmp_path.glob("mnrun-cli-ssh-*"))) == 1  # that of the one that lives
        assert way.parent.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_the_place_of_the_token_is_shown_where_there_is_one_to_give() -> None:
    lines = hints(GIVEN, HEAD, 8265)
    assert lines[0] == "[ray] dashboard of job 12 on osk-gpu94: http://127.0.0.1:8265"
    assert lines[1].startswith("[ray] it asks for a token; to read it: ssh login ")
    assert not any("token" in line for line in hints({**GIVEN, "open": True}, HEAD, 8265))


def test_a_head_as_the_cluster_publishes_it_is_taken() -> None:
    assert call(head=a_head(Path("/t")))["skipped"]


@pytest.mark.parametrize("change", [{"address": "http://127.0.0.1:1"}, {"gcs_port": "many"}])
def test_another_head_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(AnsibleError, match=next(iter(change))):
        call(head={**a_head(Path("/t")), **change})


def test_a_host_that_is_an_option_of_ssh_is_refused() -> None:
    with pytest.raises(AnsibleActionFail, match="host of a Ray head"):
        call(head={**a_head(Path("/t")), "host": "-oProxyCommand=true"})
