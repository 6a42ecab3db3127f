"""What a module says to people, whatever of the cluster's it quotes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.base.errors import MnrunError
from ansible_collections.mnrun.train.plugins.module_utils.base.module_exit import with_edge

from tests.unit.cli.test_terminal import HOSTILE


class Module:
    """Keeps what it is ended with."""

    def __init__(self) -> None:
        self.said: dict[str, Any] = {}
        self.warned: list[str] = []

    def warn(self, text: str) -> None:
        self.warned.append(text)

    def exit_json(self, **result: Any) -> None:
        self.said = result

    fail_json = exit_json


@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE)
def test_no_message_or_warning_commands_a_terminal(line: str) -> None:
    module = Module()
    with_edge(module, lambda: {"msg": f"one\n{line}", "warnings": [line], "path": line})
    assert (module.said, module.warned) == ({"msg": "one\nab", "path": line}, ["ab"])

    def fails() -> dict[str, Any]:
        raise MnrunError(f"one\n{line}")

    with_edge(module, fails)
    assert module.said["msg"] == "one\nab"


def test_an_answer_is_unicode_whatever_a_name_is(tmp_path: Path) -> None:
    """Of a name that is not UTF-8, and of a record with half a character."""
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/run \xff\xfe"))).mkdir()
    name = next(tmp_path.iterdir()).name
    half = json.loads('"\\ud800"')
    module = Module()
    with_edge(module, lambda: {"msg": name, "warnings": [half], name: [{"a": (name, 1)}]})
    json.dumps((module.said, module.warned), ensure_ascii=False).encode()
    assert module.said == {"msg": "run ??", "run ??": [{"a": ["run ??", 1]}]}

    def fails() -> dict[str, Any]:
        raise MnrunError(name, where=name)

    with_edge(module, fails)
    assert module.said == {"msg": "run ??", "where": "run ??"}

    def lost() -> dict[str, Any]:
        raise OSError(5, "no", name)

    with_edge(module, lost)
    json.dumps(module.said, ensure_ascii=False).encode()
