"""Stands in for an action plugin of the collection: notes each call, answers from a file.

$MNRUN_STUB is a folder: `answers.json` maps "module stage state" to answers in turn, the last one
for all further calls; `calls.jsonl` gets a line for each call.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """See above."""

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        given = self._task.args
        module = str(self._task.resolved_action).rpartition(".")[2]
        key = f"{module} {given.get('stage', 'ray')} {given.get('state', 'present')}"
        key += " check" if self._task.check_mode else ""
        key += f" on {self._task.delegate_to}" if self._task.delegate_to else ""
        folder = Path(os.environ["MNRUN_STUB"])
        told = [line for line in _lines(folder / "calls.jsonl") if line["key"] == key]
        with (folder / "calls.jsonl").open("a") as calls:
            if_used = given.get("if_used")
            calls.write(json.dumps({"key": key, "if_used": if_used}) + "\n")
        answers = json.loads((folder / "answers.json").read_text())[key]
        answer: dict[str, Any] = answers[min(len(told), len(answers) - 1)]
        return answer


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
