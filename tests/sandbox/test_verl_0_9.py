"""verl 0.9 on the CPU, in a training environment of its own. `make trainers` runs this."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from .conftest import Cluster, playbook
from .mnrun import mnrun
from .place import environments
from .test_trainer import FILES, MODEL, last_line, make_toy

HERE = Path(__file__).parent / "files"
CHECKS = HERE / "rollout_checks.py"
RUN = "training/verl-0.9"

pytestmark = [pytest.mark.sandbox, pytest.mark.trainers]


@pytest.fixture(scope="module")
def python() -> Path:
    """The environment's Python; it is built here, once."""
    install = FILES / "env" / "install.py"
    options = ["--trainer=verl-0.9", f"--root={environments()}"]
    found = last_line(["/usr/bin/python3", install, *options], timeout=1800)
    return Path(found["path"], "bin", "python")


@pytest.fixture(scope="module")
def home(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the toy model and data."""
    home = tmp_path_factory.mktemp("home")
    assert make_toy(python, home)["changed"] is True
    return home


FOUND = """
import json
import verl.utils.device as device
import verl.workers.rollout.base as base
import verl.workers.rollout.replica as replica
print(json.dumps({
    "device": [device.get_device_name(), device.get_nccl_backend(), device.get_resource_name()],
    "rollout": [base.get_rollout_class("hf").__module__,
                replica.get_rollout_replica_class("hf").__module__],
}))
"""


def test_it_trains_on_the_cpu_and_ray_schedules_on_gpus(python: Path) -> None:
    found = last_line([python, "-c", FOUND])
    assert found["device"] == ["cpu", "gloo", "GPU"]
    assert found["rollout"] == ["mnrun_cpu_rollout", "mnrun_cpu_rollout"]


def test_rollouts_equal_plain_generation(python: Path, home: Path) -> None:
    answers = last_line([python, CHECKS, home / MODEL])
    assert answers["version"] == "0.9.1"
    assert answers["rollout"] == answers["plain"]
    assert answers["apart"] < 1e-4  # in logarithmic probability, greedy and sampled
    assert set(answers["steps"]) == {7}


def test_sft_trains_once(sandbox: Cluster, python: Path) -> None:
    both = '{"sandbox_trainers": ["verl-0.5", "verl-0.9"]}'
    playbook("playbooks/sandbox_up.yml", "-i", "inventory/sandbox", "-e", both)
    sandbox.run(f"rm -rf {RUN}")
    options = yaml.safe_load((HERE / "verl_0_9.yml").read_text())
    trained = mnrun("sft", mnrun_run_dir=f"~/{RUN}", **options)
    assert trained.code == 0, trained.text
    assert "step 4/4" in trained.text
    assert sandbox.run(f"cat {RUN}/sft/checkpoints/latest_checkpointed_iteration.txt") == "4"
    again = mnrun("sft", mnrun_run_dir=f"~/{RUN}", **options)
    assert (again.code, again.changed) == (0, 0), again.text


@pytest.mark.parametrize(("algorithm", "parts"), [("ppo", "actor critic"), ("grpo", "actor")])
def test_ppo_trains_from_it(sandbox: Cluster, algorithm: str, parts: str) -> None:
    options = yaml.safe_load((HERE / "verl_0_9.yml").read_text())
    given = {"mnrun_run_dir": f"~/{RUN}", "ppo_algorithm": algorithm, **options}
    trained = mnrun("ppo", **given)
    assert trained.code == 0, trained.text
    assert "step 2/2" in trained.text
    saved = sandbox.run(f"cd {RUN}/ppo/checkpoints/global_step_2; echo */ | tr -d /")
    assert saved == parts
    again = mnrun("ppo", **given)
    assert (again.code, again.changed) == (0, 0), again.text
