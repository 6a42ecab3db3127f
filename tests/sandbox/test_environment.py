"""The activation script under real modules, on the login node and inside jobs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.environment.script import Settings, render

from .conftest import Cluster
from .plays import message, play

pytestmark = pytest.mark.sandbox

EM_INIT = "/etc/profile.d/modules.sh"
HOOK = "/home/appli/miniconda3/24.7.1-py311/etc/profile.d/conda.sh"
NAMES = ["nccl/2.22.3", "hpcx/2.18.1-gcc-cuda12/hpcx-mt", "miniconda/24.7.1-py311"]
PREFIX = "/home/mluser/conda_env"
SITE = Settings(
    modules_init=EM_INIT,
    modules=NAMES,
    conda_hook=HOOK,
    conda_prefix=PREFIX,
    variables={"TRIED": "it's $HOME"},
    limits={"v": "unlimited"},
    wandb_entity="team",
    wandb_project="toy",
    wandb_key_files=[],
    wandb_mode="auto",
)
QUEUE = 120.0  # seconds; somebody else's job may hold the nodes
SEEN = 'echo "$LOADEDMODULES|$(command -v python)|$TRIED|$(ulimit -v)|$WANDB_MODE|$WANDB_PROJECT"'


@pytest.fixture
def here(sandbox: Cluster) -> Iterator[str]:
    """A folder of the cluster's user, on the shared file system."""
    path = sandbox.run("mktemp -d -p ~ environment.XXXXXX")
    yield path
    sandbox.run(f"rm -rf {path}")


def put(sandbox: Cluster, path: str, text: str) -> str:
    sandbox.run(f"cat > {shlex.quote(path)} <<'END_OF_FILE'\n{text}\nEND_OF_FILE")
    return path


@pytest.fixture(params=["environment-modules", "lmod"])
def init(request: pytest.FixtureRequest) -> str:
    """The init file of each kind of modules."""
    if request.param == "lmod":
        return str(request.getfixturevalue("lmod_init"))
    return EM_INIT


@pytest.mark.parametrize("where", ["ssh", "job"])
def test_it_comes_up_strictly_and_twice(sandbox: Cluster, here: str, init: str, where: str) -> None:
    script = put(sandbox, f"{here}/activate.sh", render(SITE._replace(modules_init=init)))
    lines = f"set -euo pipefail\nsource {script}\n{SEEN}\nsource {script}\n{SEEN}"
    inner = put(sandbox, f"{here}/inner.sh", f"{lines}\necho $PATH\nbash -c 'echo child $PATH'")
    # A child sources it again, with all of it inherited.
    outer = put(sandbox, f"{here}/outer.sh", f"#!/bin/bash\n{lines}\nbash {inner}")
    run = "bash --noprofile --norc" if where == "ssh" else "srun --quiet"
    output = sandbox.run(f"chmod +x {outer} && {run} {outer}", timeout=QUEUE)
    seen = [line for line in output.splitlines() if not line.startswith("mnrun: note: ")]
    up = f"{':'.join(NAMES)}|{PREFIX}/bin/python|it's $HOME|unlimited|offline|toy"
    assert seen[:4] == [up] * 4
    path = seen[4].split(":")
    assert path.count(f"{PREFIX}/bin") == 1
    assert len(path) == len(set(path))
    assert output.count("note: W&B logs this run offline: no key") == 4


@pytest.mark.parametrize("where", ["ssh", "job"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"modules": ["nccl/2.22.9"]}, ["no module nccl/2.22.9", "Available: nccl/2.22.3"]),
        ({"modules": ["cuda/12"]}, ["no module cuda/12", "hpcx miniconda nccl"]),
        ({"modules_init": "/etc/profile.d/lmod9.sh"}, ["/etc/profile.d/lmod9.sh", "modules.sh"]),
        ({"conda_hook": HOOK.replace("24.7.1", "24.9")}, ["conda hook", "24.7.1-py311"]),
        (
            {"conda_prefix": PREFIX + "2"},
            ["conda_env2", "/home/mluser exists and contains: ", " conda_env "],
        ),
    ],
)
def test_the_same_fault_is_named_on_the_login_node_and_in_a_job(
    sandbox: Cluster, here: str, where: str, change: dict[str, Any], words: list[str]
) -> None:
    script = put(sandbox, f"{here}/activate.sh", render(SITE._replace(**change)))
    line = f"bash --noprofile --norc -c 'set -e; source {script}; echo went on'"
    line = line if where == "ssh" else f"srun --quiet {line}"
    output = sandbox.run(line, timeout=QUEUE, check=False)
    said = [text for text in output.splitlines() if text.startswith("mnrun: ")]
    assert len(said) == 1, output
    assert all(word in said[0] for word in words), said
    assert "went on" not in output


@pytest.mark.parametrize("name", ["broken/1", "cuda/12", "nccl/2.22.9"])
def test_a_module_that_does_not_load_is_told_from_one_that_is_not_there(
    sandbox: Cluster, here: str, init: str, name: str
) -> None:
    sandbox.run(f"mkdir -p {here}/modules/broken")
    put(sandbox, f"{here}/modules/broken/1", '#%Module1.0\nputs stderr "it is broken"\nexit 1')
    first = put(sandbox, f"{here}/init.sh", f". {init}\nmodule use {here}/modules")
    bad = SITE._replace(modules_init=first, modules=[NAMES[0], name])
    script = put(sandbox, f"{here}/activate.sh", render(bad))
    output = sandbox.run(f"bash --noprofile --norc -c 'source {script}'", check=False)
    if name == "broken/1":
        assert f"the module {name} exists but cannot be loaded" in output
    else:
        assert f"there is no module {name}" in output


def test_wandb_keeps_a_run_offline_and_its_files_are_there(sandbox: Cluster, here: str) -> None:
    script = put(sandbox, f"{here}/activate.sh", render(SITE))
    program = "import wandb; run = wandb.init(name='tried'); run.log({'loss': 1.0}); run.finish()"
    sandbox.run(f"cd {here} && source {script} && python -c {shlex.quote(program)}")
    found = sandbox.run(f"find {here}/wandb -name 'run-*.wandb' -size +0")
    assert len(found.splitlines()) == 1
    assert "/offline-run-" in found


def names_of(sandbox: Cluster, path: str) -> list[str]:
    return sandbox.run(f"ls -A {path} 2> /dev/null || true").split()


def test_the_role_installs_what_works_and_nothing_else(sandbox: Cluster, here: str) -> None:
    bashrc = sandbox.run("sha256sum ~/.bashrc ~/.profile")
    variables = {"mnrun_run_dir": f"{here}/run", "environment_wandb_key": "0123456789" * 4}
    bad = play("playbooks/environment.yml", {**variables, "environment_modules": ["nccl/9"]})
    assert "there is no module nccl/9" in message(bad)
    assert names_of(sandbox, f"{here}/run") == []

    first = play("playbooks/environment.yml", variables)
    assert first.returncode == 0, first.stdout
    assert "changed=1 " in first.stdout
    assert sorted(names_of(sandbox, f"{here}/run/.mnrun")) == ["activate.sh", "wandb_key"]
    assert sandbox.run(f"stat -c %a {here}/run/.mnrun/wandb_key") == "600"
    assert "0123456789" not in first.stdout + sandbox.run(f"cat {here}/run/.mnrun/activate.sh")
    found = sandbox.run(f"source {here}/run/.mnrun/activate.sh; echo $WANDB_MODE $WANDB_API_KEY")
    assert found == f"online {variables['environment_wandb_key']}"

    # Without the key the kept one goes on to be used.
    again = play("playbooks/environment.yml", {"mnrun_run_dir": f"{here}/run"})
    assert "changed=0 " in again.stdout
    assert sandbox.run("sha256sum ~/.bashrc ~/.profile") == bashrc


def test_a_missing_environment_is_made_by_a_job_and_a_half_made_one_again(
    sandbox: Cluster, here: str, tmp_path: Path
) -> None:
    spec = tmp_path / "environment.yml"
    spec.write_text("dependencies:\n  - python=3.11\n")
    sandbox.run(f"mkdir -p {here}/env/half {here}/mine && touch {here}/env.mnrun-creating")
    variables = {
        "mnrun_run_dir": f"{here}/run",
        "environment_conda_spec": str(spec),
        "environment_conda_prefix": f"{here}/env/",
        "environment_sbatch": {"time": "5"},
    }
    # It lacks the packages, which the stand-in for conda cannot bring, and that is said.
    done = play("playbooks/environment.yml", variables)
    assert "lacks verl, torch, ray" in message(done)
    assert "[environment] … job" in done.stdout
    assert "COMPLETED on osk-gpu" in done.stdout
    found = sorted(re.sub(r"-\d+$", "-JOB", name) for name in names_of(sandbox, here))
    assert found == ["env", "env.mnrun-lock", "env.unfinished-JOB", "mine", "run"]
    assert "half" not in names_of(sandbox, f"{here}/env")
    sandbox.run(f"test -x {here}/env/bin/python")

    # An environment that somebody else made, whole or not, is never touched.
    done = play(
        "playbooks/environment.yml", {**variables, "environment_conda_prefix": f"{here}/mine"}
    )
    assert f"no Python environment at {here}/mine" in message(done)
    assert "[environment]" not in done.stdout


def test_a_trial_takes_well_below_a_second(sandbox: Cluster, here: str) -> None:
    script = put(sandbox, f"{here}/activate.sh", render(SITE))
    line = f"time bash --noprofile --norc -c 'source {script}; python -c pass'"
    cpu = sandbox.run(f"TIMEFORMAT='%U %S'; {line} 2>&1 | tail -1").split()
    assert sum(map(float, cpu[-2:])) < 0.5
