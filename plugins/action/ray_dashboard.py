"""Forwards the Ray dashboard to this machine over ssh, and prints how to log in.

The module of this name documents the options.
"""

from __future__ import annotations

import fcntl
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils.base.errors import Invalid
from ..module_utils.record.ray_head import HEAD_OPTIONS, Head
from ..plugin_utils.login_ssh import node_words
from ..plugin_utils.relay import Relay
from ..plugin_utils.stage_line import lasting

OPTIONS: dict[str, dict[str, Any]] = {
    "head": {"type": "dict", "required": True, "options": HEAD_OPTIONS},
    "open": {"type": "bool", "default": False},
    "ssh_args": {"type": "str", "default": ""},
    "user": {"type": "str", "default": ""},
    "key": {"type": "str", "default": ""},
    "login": {"type": "str", "default": ""},
    "seconds": {"type": "int", "default": 0},
}
_START = 30.0  # seconds for ssh to connect


@contextmanager
def private_socket() -> Iterator[Path]:
    """Yield the path of a socket that only this user can open.

    Ctrl-C may end us before the folder is removed. Its lock then shows that no one uses it, and
    the next mnrun removes it (mnrun/private_folder.py).
    """
    with (
        TemporaryDirectory(prefix="mnrun-cli-ssh-") as folder,
        Path(folder, "alive").open("w") as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(folder) / "s"


class ActionModule(ActionBase):
    """Runs ssh in the foreground."""

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Forward until the user presses Ctrl-C."""
        super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(argument_spec=OPTIONS)
        try:
            head = Head.of(given["head"])
        except Invalid as error:
            raise AnsibleActionFail(error.message) from error
        if self._task.check_mode:
            return {"changed": False, "skipped": True}
        return self._forward(given, head)

    def _forward(self, given: dict[str, Any], head: Head) -> dict[str, Any]:
        with private_socket() as way:
            relay = Relay(head.dashboard_port, way)
            try:
                return self._run(given, head, way, relay.port)
            finally:
                relay.close()

    def _run(self, given: dict[str, Any], head: Head, way: Path, port: int) -> dict[str, Any]:
        ssh = subprocess.Popen(
            ssh_command(given, head, way),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            if not _answers(ssh, way):
                ssh.terminate()
                return {"failed": True, "msg": _why(ssh, head.host)}
            for line in hints(given, head, port):
                self._display.display(line)
            code = ssh.wait(given["seconds"] or None)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            return {"changed": False, "port": port}
        else:
            return {"failed": True, "msg": f"ssh to {head.host} ended, exit code {code}."}
        finally:
            ssh.terminate()
            ssh.wait(10)


def ssh_command(given: dict[str, Any], head: Head, way: Path) -> list[str]:
    """The ssh that forwards a socket of this machine."""
    command = ["ssh", "-N", "-T", "-o", "ExitOnForwardFailure=yes", "-o", "BatchMode=yes"]
    command += ["-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "ServerAliveInterval=15"]
    command += ["-L", f"{way}:127.0.0.1:{head.dashboard_port}"]
    return [*command, *node_words(given), head.host]


def hints(given: dict[str, Any], head: Head, port: int) -> list[str]:
    """What the user has to know: where the token is, never the token itself."""
    read = f"cat {shlex.quote(head.token_file)}"
    if given["login"]:
        read = f"ssh {given['login']} {shlex.quote(read)}"
    asked = [] if given["open"] else [lasting("ray", f"it asks for a token; to read it: {read}")]
    address = f"http://127.0.0.1:{port}"
    return [
        lasting("ray", f"dashboard of job {head.job_id} on {head.host}: {address}"),
        *asked,
        lasting("ray", "forwarding until you press Ctrl-C"),
    ]


def _answers(ssh: subprocess.Popen[str], way: Path) -> bool:
    """Whether ssh listens; False if it ended, or did not connect in time."""
    deadline = time.monotonic() + _START
    while ssh.poll() is None and time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(way)) == 0:
                return True
        time.sleep(0.1)
    return False


def _why(ssh: subprocess.Popen[str], host: str) -> str:
    _, output = ssh.communicate(timeout=10)
    code = ssh.returncode
    how = "did not get through" if code in {0, -signal.SIGTERM} else f"ended with exit code {code}"
    words = " ".join((output or "").split())[-300:]
    return (
        f"ssh to {host} {how}: {words or 'no reason given'}. The dashboard needs ssh from this "
        "machine to the head's node (ray_cluster_head_ssh_args)."
    )
