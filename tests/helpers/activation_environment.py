"""Activation settings that do nothing, and an environment that has what a stage needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ansible_collections.mnrun.train.plugins.module_utils.environment.script import Settings

EMPTY = Settings(
    modules_init="",
    modules=[],
    conda_hook="",
    conda_prefix="",
    variables={},
    limits={},
    wandb_entity="",
    wandb_project="",
    wandb_key_files=[],
    wandb_mode="disabled",
)


def make_environment(path: Path) -> Path:
    """Make a Python environment whose records name verl, torch and Ray."""
    command = [sys.executable, "-m", "venv", "--without-pip", str(path)]
    subprocess.run(command, check=True, timeout=60)
    site = next(path.glob("lib/python*/site-packages"))
    for name, version in (("verl", "0.5.0"), ("torch", "2.13.0"), ("ray", "2.60.0")):
        info = site / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return path
