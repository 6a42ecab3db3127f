"""The role preflight hands its lists to the module as they are, so both know the same names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.mnrun.train.plugins.modules.preflight import SPEC

ROLE = Path(__file__).parents[3] / "roles" / "preflight" / "meta" / "argument_specs.yml"


def types(options: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: option.get("type", "str") for name, option in options.items()}


@pytest.mark.parametrize("name", ["trainers", "code", "slurm"])
def test_what_the_module_takes_passes_the_roles_check(name: str) -> None:
    specs: dict[str, Any] = yaml.safe_load(ROLE.read_text())["argument_specs"]["main"]["options"]
    module: dict[str, Any] = SPEC
    assert types(specs[f"preflight_{name}"]["options"]) == types(module[name]["options"])
