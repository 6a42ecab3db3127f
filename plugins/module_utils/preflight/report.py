"""What the checks found, as one report."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Iterator

from ..base.errors import MnrunError
from ..base.files import explain
from ..base.finding import FAULT, OK, WARNING, Finding


@dataclass
class Report:
    """The findings. `rows` by file; `identities` identify the content, for a stage's spec."""

    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    identities: dict[str, Any] = field(default_factory=dict)
    checkpoints: dict[str, dict[str, int]] = field(default_factory=dict)  # by stage
    limits: list[str] = field(default_factory=list)  # how long the jobs may run
    checked: list[str] = field(
        default_factory=list
    )  # what was checked and is complete, as lines of text
    # For each text of the lists above, the part that it is about and the variables that decide it.
    parts: dict[str, list[Any]] = field(default_factory=dict)
    right: list[list[str]] = field(default_factory=list)  # parts without faults, and what is there

    @contextmanager
    def about(self, part: str, *variables: str) -> Iterator[None]:
        """What is found inside is about this part; what ends it early is a fault among others."""
        old = {*self.faults, *self.warnings}
        try:
            yield
        except MnrunError as error:
            self.faults += error.message.splitlines()
        except OSError as error:
            self.faults.append(explain(error))
        for text in [*self.faults, *self.warnings]:
            if text not in old:
                self.parts.setdefault(text, [part, list(variables)])

    def findings(self) -> list[Finding]:
        """All of it, one by one."""
        found = [Finding(OK, part, text) for part, text in self.right]
        for level, texts in ((WARNING, self.warnings), (FAULT, self.faults)):
            for text in texts:
                part, variables = self.parts.get(text, ["site", []])
                found.append(Finding(level, part, text, tuple(variables)))
        return found
