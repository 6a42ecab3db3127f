"""flash_attn, which verl wants of a GPU, in environments with and without it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.trainer.attention import attention_faults

ACTOR, CRITIC = (
    f"{model}.override_config.attn_implementation"
    for model in ("actor_rollout_ref.model", "critic.model")
)
GAE = {"algorithm.adv_estimator": "gae"}


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment whose torch is for GPUs, without flash_attn."""
    package(tmp_path, "torch", "cuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    return tmp_path


def package(folder: Path, name: str, version: str = "") -> None:
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "__init__.py").touch()
    (folder / name / "version.py").write_text(version)
    importlib.invalidate_caches()


@pytest.mark.parametrize(
    ("options", "ppo", "words"),
    [
        ({}, False, "+model.override_config"),
        ({"model.override_config.attn_implementation": "sdpa"}, False, ""),
        (GAE, True, "+actor_rollout_ref.model"),
        ({**GAE, ACTOR: "sdpa"}, True, "+critic.model"),
        ({**GAE, ACTOR: "sdpa", CRITIC: "sdpa"}, True, ""),
        ({"algorithm.adv_estimator": "grpo", ACTOR: "sdpa"}, True, ""),
    ],
)
def test_it_is_needed_unless_the_options_name_another(
    environment: Path, options: dict[str, Any], ppo: bool, words: str
) -> None:
    faults = list(attention_faults(options.get, ppo=ppo))
    assert len(faults) == bool(words)
    assert words in "".join(faults)


def test_it_is_not_missed_where_it_is_or_without_a_gpu(environment: Path) -> None:
    options: dict[str, Any] = {}
    package(environment, "torch", "cuda: Optional[str] = None\nhip: Optional[str] = None\n")
    assert list(attention_faults(options.get, ppo=False)) == []
    package(environment, "torch", "cuda = '13.0'\n")
    assert list(attention_faults(options.get, ppo=False)) != []
    package(environment, "flash_attn")
    assert list(attention_faults(options.get, ppo=False)) == []


def test_an_environment_that_is_made_for_a_cpu_needs_none(environment: Path) -> None:
    package(environment, "mnrun_cpu_shim")
    options: dict[str, Any] = {}
    assert list(attention_faults(options.get, ppo=False)) == []
