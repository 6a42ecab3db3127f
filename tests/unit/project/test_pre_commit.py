"""The hooks run what `make lint` runs, with the tools that the dev extra pins."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
PINNED = dict(re.split(r"\s*==", line) for line in EXTRAS["dev"] if "==" in line)


def tool(command: str) -> str:
    """The pinned tool that a hook or a line of the Makefile runs; the only one that it names."""
    (name,) = (name for name in PINNED if re.search(rf"(?<![\w-]){name}(?![\w-])", command))
    return name


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_runs_a_pinned_tool_of_the_virtual_environment(hook: dict[str, str]) -> None:
    assert hook["language"] == "system"
    assert ".venv/bin" in hook["entry"]
    assert tool(hook["entry"])


def test_the_hooks_run_every_tool_of_make_lint() -> None:
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe
    lines = [line for line in recipe.group(1).splitlines() if "$(BIN)" in line]
    assert {tool(line) for line in lines} == {tool(hook["entry"]) for hook in HOOKS}
