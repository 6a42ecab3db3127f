"""Values of the shipped site in a copy of its inventory for another one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.plugin_utils.left_over import left_over

ROOT = Path(__file__).parents[3]
SHIPPED = {
    "mnrun_model": "~/model/Llama", "mnrun_train_files": ["~/gsm8k.parquet"],
    "environment_wandb_project": "competition",
    "sft_options": {"trainer.experiment_name": "llama", "data.x": 1},
    "fetch_model_repo": "meta/Llama", "publish_base_model": "meta/Llama",
    "publish_license": "llama",
    "publish_datasets": ["openai/gsm8k"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "wandb", "words"),
    [
        ({}, True, ["environment_wandb_project, sft_options: trainer.experiment_name: still"]),
        ({}, False, []),
        ({"environment_wandb_project": "mine"}, True, ["sft_options: trainer.experiment_name"]),
        ({"mnrun_model": "~/model/Qwen"}, False,
         ["fetch_model_repo, publish_base_model, publish_license: still"]),
        ({"mnrun_model": "~/model/Qwen", "fetch_model_repo": "Q/Q", "publish_base_model": "Q/Q",
          "publish_license": "apache-2.0"}, False, []),
        ({"mnrun_train_files": ["~/mine.parquet"]}, False, ["publish_datasets: still"]),
    ],
)  # fmt: skip
def test_what_is_still_the_shipped_sites_is_named(
    changed: dict[str, Any], wandb: bool, words: list[str]
) -> None:
    lines = left_over({**SHIPPED, **changed}, SHIPPED, wandb=wandb)
    assert len(lines) == len(words)
    assert all(word in line for word, line in zip(words, lines, strict=True))


def warnings(inventory: Path, tmp_path: Path) -> str:
    play = tmp_path / "play.yml"
    play.write_text(
        "- hosts: login\n  gather_facts: false\n  tasks:\n"
        "    - mnrun.train.validate: {roles: [environment, sft, publish, fetch]}\n"
    )
    done = subprocess.run(
        [
            sys.executable, "-m", "ansible.cli.playbook", str(play), "-i", str(inventory),
            "-e", "mnrun_partition=a", "-e", "environment_wandb_entity=b", "-e", "mnrun_model=~/q",
        ],
        cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


def test_a_copy_of_the_inventory_is_warned_of_and_the_original_is_not(tmp_path: Path) -> None:
    copy = shutil.copytree(ROOT / "inventory" / "osk", tmp_path / "mine")
    said = " ".join(warnings(copy, tmp_path).split())
    assert "environment_wandb_project, sft_options: trainer.experiment_name" in said
    assert "fetch_model_repo, publish_base_model, publish_license" in said
    assert "still as" not in warnings(ROOT / "inventory" / "osk", tmp_path)
