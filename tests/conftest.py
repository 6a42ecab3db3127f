"""What holds for all tests."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.sandbox.place import end_all


def pytest_configure() -> None:
    """Take signals as a terminal's programs do. A test run in the background, or under nohup, is
    started with these ignored, and so would be every program that a test starts.

    And let `python` be the one that runs the tests: another one may be missing, or be a script of
    pyenv that starts thirty processes.
    """
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def pytest_unconfigure(config: pytest.Config) -> None:
    """The last thing where tests ran side by side: no cluster stays that a worker brought up."""
    if config.getoption("numprocesses", None) and not os.geteuid():
        end_all()
