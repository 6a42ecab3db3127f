"""Sends modules to hosts, and finds their answers in what a remote shell printed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from ansible.plugins.action import ActionBase

from . import packs, templates

templates.install()

_OURS = "invocation"
"""Each module returns it; no banner does."""


class AnswerAction(ActionBase):
    """An action plugin that also understands a module whose shell prints JSON of its own.

    Ansible takes all from the first line with a brace to be the answer. A site's start-up files may
    print such lines on every login.
    """

    def _configure_module(self, module_name: str, module_args: Any, task_vars: Any) -> Any:
        with packs.kept(module_name):
            built, path = super()._configure_module(module_name, module_args, task_vars)
        return replace(built, b_module_data=packs.with_compiled(built.b_module_data)), path

    def _parse_returned_data(self, res: dict[str, Any], *profile: Any, **more: Any) -> Any:
        only = {**res, "stdout": answer_in(str(res.get("stdout") or ""))}
        return super()._parse_returned_data(only, *profile, **more)


def answer_in(output: str) -> str:
    """The module's own line of `output`; all of it if there is none."""
    return next((line for line in reversed(output.splitlines()) if _is_answer(line)), output)


def _is_answer(line: str) -> bool:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(data, dict) and _OURS in data
