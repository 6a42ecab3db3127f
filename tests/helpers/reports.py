"""Runs as the module run_report_info returns them: recorded on the sandbox, and hostile ones."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parents[1] / "unit" / "report" / "runs.json"
BAD = (
    '</script><script>window.hacked=1</script><img src=x onerror="window.hacked=1">'
    "'\"&\x1b[31m\x00\x9b\u202e]]>-->|`@somebody \ud800 ${x} [a](javascript:alert(1))"
)
_KEPT = {"stage", "phase", "kind", "submitted"}
"""What mnrun itself names."""


def recorded_runs() -> list[dict[str, Any]]:
    """Three runs of SFT and PPO: one, one that was stopped and started over, one that resumed."""
    return list(json.loads(RECORDED.read_text(encoding="utf-8"))["runs"])


def hostile_runs() -> list[dict[str, Any]]:
    """Recorded runs with markup, control characters and huge values wherever a text can be."""
    runs = recorded_runs()[:2]
    for run in runs:
        for stage in run["stages"]:
            options = {f"{BAD}.lr": BAD, "long": "x" * 100_000, "deep": [[[BAD]]]}
            stage["spec"] = {**stage["spec"], "options": options, "trainer": BAD}
            stage["curves"] = {
                **(stage.get("curves") or {}),
                BAD: numbers(),
                "nothing": [[1, None]],
            }
            stage["answers"] = [answer("y" * 100_000), answer(BAD), answer(BAD)]
            for one in stage["attempts"]:
                one.update(cause={"code": "x", "title": BAD}, problem=BAD * 3)
        run["kept_options"] = "sft: {lr: [1, 2]}\nppo: no mapping\n"
    runs[1]["kept_options"] = "{" * 5000
    return [bad(run) for run in runs]


def numbers() -> list[list[Any]]:
    """A curve with everything that a float can be."""
    values = [0.0, -0.0, 1e308, -1e308, 5e-324, None, math.nan, math.inf, -math.inf, 1e-300, 3.0]
    return [[step, value] for step, value in enumerate(values)]


def answer(text: str) -> dict[str, Any]:
    """A sample answer that consists of this text."""
    return {"step": None, "prompt": text, "answer": text, "truth": text, "score": None}


def bad(value: Any, key: str = "") -> Any:
    """A copy of a value whose texts are hostile."""
    if isinstance(value, dict):
        return {name: bad(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [bad(one, key) for one in value]
    if isinstance(value, str) and key not in _KEPT and len(value) < 1000 and BAD not in value:
        return BAD + value
    return copy.copy(value)
