"""Variables that another one makes useless."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.mnrun.train.plugins.plugin_utils.ignored import PAIRS, ignored

ROOT = Path(__file__).parents[3]
DEFAULTS = {
    name: option.get("default")
    for path in ROOT.glob("roles/*/meta/argument_specs.yml")
    for entry in yaml.safe_load(path.read_text())["argument_specs"].values()
    for name, option in entry["options"].items()
}


def found(given: dict[str, Any]) -> dict[str, bool]:
    known = {**DEFAULTS, **given}
    return {one.name: one.refused for one in ignored(given, known.get, DEFAULTS.get)}


def test_each_is_an_option() -> None:
    assert {name for pair in PAIRS for name in (*pair.names, pair.other)} <= set(DEFAULTS)


@pytest.mark.parametrize("site", ["osk", "sandbox"])
def test_the_sites_that_come_with_mnrun_have_none(site: str) -> None:
    given: dict[str, Any] = {}
    for path in (ROOT / "inventory" / site / "group_vars" / "all").glob("*.yml"):
        given |= yaml.safe_load(path.read_text()) or {}
    assert found(given) == {}


def test_what_belongs_to_conda_is_refused_beside_an_image() -> None:
    image = {"environment_image": "/a.sif"}
    conda = {
        "environment_conda_hook": "/conda.sh",
        "environment_conda_prefix": "/envs/a",
        "environment_conda_spec": "env.yml",
    }
    assert found({**image, **conda}) == dict.fromkeys(conda, True)
    assert found(conda) == {}
    # As every site has it: that is no choice of anyone's.
    assert found({**image, "environment_conda_prefix": "~/conda_env"}) == {}
    assert found({"environment_image_binds": ["/x"]}) == {"environment_image_binds": False}
    assert found({**image, "environment_image_binds": ["/x"]}) == {}


@pytest.mark.parametrize("off", [False, "false", "no", 0, "0", ""])
def test_a_switch_may_be_a_text(off: object) -> None:
    given = {"convert_score_rows": 8, "convert_score": off}
    assert found(given) == {"convert_score_rows": False}
    assert found({**given, "convert_score": "yes"}) == {}


def test_a_place_decides() -> None:
    given = {"fetch_sbatch": {"mem": "1G"}, "ray_cluster_head_ssh_args": "-4"}
    assert found(given) == {}
    other = {"mnrun_hub_place": "login", "ray_cluster_head_connection": "srun"}
    assert found({**given, **other}) == dict.fromkeys(given, False)


def test_what_cannot_be_worked_out_is_passed_over() -> None:
    assert list(ignored(["convert_score_rows"], lambda _: None, lambda _: None)) == []
