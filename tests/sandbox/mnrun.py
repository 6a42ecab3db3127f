"""The command line on the sandbox, as a user types it."""

from __future__ import annotations

import json
import re
import sys
from typing import Any, NamedTuple

from .conftest import ROOT, spoken


class Run(NamedTuple):
    """What a command came to."""

    code: int
    text: str  # standard output and error

    @property
    def changed(self) -> int:
        """What the closing line counted."""
        found = re.findall(r"changed=(\d+)|(\d+) changes? pending", self.text)
        assert found, self.text
        return int("".join(found[-1]))


def mnrun(*arguments: str, timeout: float = 600, **variables: Any) -> Run:
    """Run `mnrun ARGUMENTS -i inventory/sandbox`, with extra variables."""
    argv = [sys.executable, "-m", "mnrun", *arguments, "-i", "inventory/sandbox"]
    if variables:
        argv += ["-e", json.dumps(variables)]
    done = spoken(argv, timeout, cwd=ROOT)
    return Run(done.returncode, done.stdout)
