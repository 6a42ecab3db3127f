"""Processes as the kernel shows them, and as it may not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base import sessions
from ansible_collections.mnrun.train.plugins.module_utils.base.presence import read_text


def test_a_process_that_the_kernel_hides_is_nobody_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    own, real = os.getsid(0), sessions.stat_of

    def hidden(path: Path) -> str | None:  # as where /proc is mounted with hidepid=1
        if path.parent.name == "1":
            raise PermissionError(1, "Operation not permitted", str(path))
        return read_text(path)

    monkeypatch.setattr(sessions, "read_text", hidden)
    assert sessions.stat_of(1) is None
    monkeypatch.setattr(sessions, "stat_of", lambda pid: None if pid == own else real(pid))
    assert os.getpid() in sessions.processes(own, 1)
