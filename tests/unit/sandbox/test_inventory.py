"""The inventory of the sandbox."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def control_path(directory: str) -> str:
    """Where Ansible keeps its connections to the sandbox in this folder."""
    argv = [
        str(Path(sys.executable).with_name("ansible")),
        "login",
        "-i",
        "inventory/sandbox",
        "-m",
    ]
    argv += ["ansible.builtin.debug", "-a", "var=ansible_control_path_dir"]
    environment = {**os.environ, "MNRUN_SANDBOX_DIR": directory, "ANSIBLE_FORCE_COLOR": "0"}
    done = subprocess.run(
        argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    found = re.search(r"ansible_control_path_dir: (\S+)", done.stdout)
    assert found, done.stdout
    return found[1]


def test_two_sandboxes_do_not_share_a_connection() -> None:
    one, two = control_path("/var/lib/mnrun-sandbox"), control_path("/var/lib/other")
    assert one != two
    assert len(one) < 30  # a unix socket's path holds 107 bytes, with the home folder and ssh's own
