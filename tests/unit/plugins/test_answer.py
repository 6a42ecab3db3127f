"""The answer of a module is found, whatever a shell prints around it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.mnrun.train.plugins.action.module import ActionModule
from ansible_collections.mnrun.train.plugins.plugin_utils.answer import answer_in

ROOT = Path(__file__).parents[3]
ANSWER = json.dumps({"changed": False, "msg": "{}", "invocation": {"module_args": {"a": 1}}})
NOISE = ['{"motd": "maintenance on Monday"}', "{}", "{ not json", "[1]", "welcome", "{", "}"]


@pytest.mark.parametrize("before", [[], *([one] for one in NOISE), NOISE])
@pytest.mark.parametrize("after", [[], *([one] for one in NOISE)])
def test_the_module_s_own_line_is_the_answer(before: list[str], after: list[str]) -> None:
    action = object.__new__(ActionModule)
    action._used_interpreter = None
    given: dict[str, Any] = {
        "stdout": "\n".join([*before, "", ANSWER, *after]),
        "stderr": "",
        "rc": 0,
    }
    found = action._parse_returned_data(given, "legacy")
    assert (found["changed"], found["msg"]) == (False, "{}")


@pytest.mark.parametrize("output", ["", "{}", "no answer", '{"motd": 1}\n{"tip": 2}', "[" * 99_999])
def test_what_holds_no_answer_is_left_to_ansible(output: str) -> None:
    assert answer_in(output) == output


def test_each_module_that_runs_on_a_site_is_read_so() -> None:
    named = {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")}
    own = {path.stem for path in (ROOT / "plugins" / "action").glob("*.py")}
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())
    routed = runtime["plugin_routing"]["modules"]
    assert set(routed) == named - own - {"__init__"}
    assert {route["action_plugin"] for route in routed.values()} == {"mnrun.train.module"}
