"""The scripts that inventory/osk gives, whole, against the ones kept beside this file in golden."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.slurm.directives import (
    check_body,
    sbatch_options,
    with_directives,
)

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
SCRIPTS = [
    "sft.sbatch", "ray_cluster.sbatch", "ppo.sh", "convert.sbatch",
    "publish.sbatch", "fetch.sbatch",
]  # fmt: skip
SPECS = "specs.json"
OTHERS = [
    "torchrun.sft.sbatch", "command.sft.sbatch", "command.ppo.sh", "verl-0.8.sft.sbatch",
    "verl-0.9.ppo.sh", "trl.sft.sbatch", "trl-cli.sft.sbatch", "openrlhf.sft.sbatch",
    "openrlhf.ppo.sh", "nemo-rl.ppo.sh", "slime.ppo.sh", "prime-rl.sft.sbatch",
    "services.sft.sbatch", "services.ppo.sh", "alone.relay.sbatch", "together.relay.sbatch",
]  # fmt: skip


def rendered(out: Path) -> dict[str, str]:
    """The scripts as the site osk gets them, with their directives."""
    playbook = Path(__file__).parent / "render_scripts.yml"
    site = out / "osk"
    shutil.copytree(ROOT / "inventory/osk", site)
    shutil.copytree(ROOT / "docs/examples/trainers", site / "trainers")
    run = subprocess.run(
        [
            sys.executable, "-m", "ansible.cli.playbook", str(playbook), "-i", str(site),
            "-e", f"out={out}", "-e", f"roles_dir={ROOT / 'roles'}",
            "-e", "mnrun_partition=team", "-e", "environment_wandb_entity=org",
            "-e", f"ansible_python_interpreter={sys.executable}",
        ],
        cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert "[DEPRECATION WARNING]" not in run.stderr, run.stderr
    for name, options in json.loads((out / "sbatch.json").read_text()).items():
        given = sbatch_options(options, str)
        script = out / f"{name}.sbatch"
        script.write_text(with_directives(check_body(script.read_text()), given))
    return {name: (out / name).read_text() for name in [*SCRIPTS, *OTHERS, SPECS]}


def test_scripts_are_as_kept(tmp_path: Path) -> None:
    # To accept a change: copy what this test rendered over the file kept, and read the difference.
    # The specs were written before trainers had profiles: work that was finished then still counts.
    kept = {name: (GOLDEN / name).read_text() for name in [*SCRIPTS, *OTHERS, SPECS]}
    assert rendered(tmp_path) == kept


@pytest.mark.parametrize("name", [*SCRIPTS, *OTHERS])
def test_bash_can_read_it(name: str) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    check = subprocess.run(
        [bash, "-n", str(GOLDEN / name)], capture_output=True, text=True, timeout=10, check=False
    )
    assert (check.returncode, check.stderr) == (0, "")
