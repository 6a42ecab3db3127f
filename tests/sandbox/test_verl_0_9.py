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


@pytest.fixture(scope="module")
def cluster(sandbox: Cluster, python: Path) -> Cluster:
    """The sandbox with both environments."""
    both = '{"sandbox_trainers": ["verl-0.5", "verl-0.9"]}'
    playbook("playbooks/sandbox_up.yml", "-i", "inventory/sandbox", "-e", both)
    return sandbox


def test_sft_trains_once(cluster: Cluster) -> None:
    cluster.run(f"rm -rf {RUN}")
    options = yaml.safe_load((HERE / "verl_0_9.yml").read_text())
    trained = mnrun("sft", mnrun_run_dir=f"~/{RUN}", **options)
    assert trained.code == 0, trained.text
    assert "step 4/4" in trained.text
    assert cluster.run(f"cat {RUN}/sft/checkpoints/latest_checkpointed_iteration.txt") == "4"
    again = mnrun("sft", mnrun_run_dir=f"~/{RUN}", **options)
    assert (again.code, again.changed) == (0, 0), again.text


def killed_at(cluster: Cluster, step: int, run: str) -> None:
    """Kill a rank of SFT by SIGKILL once this step is saved, and wait for the job's end."""
    checkpoints = f"{run}/sft/checkpoints"
    tracker = f"cat {checkpoints}/latest_checkpointed_iteration.txt 2>&1"
    cluster.wait(tracker, rf"^{step}$", timeout=400)
    cluster.run("pkill -9 -o -u mluser -f verl.trainer.sft_trainer", "root@osk-gpu95")
    cluster.wait("squeue --me -h -o %j; echo end", "^end$", timeout=120)


def test_a_killed_sft_resumes_from_a_whole_checkpoint_and_is_merged(cluster: Cluster) -> None:
    options = yaml.safe_load((HERE / "verl_0_9.yml").read_text())
    longer = {"trainer.total_training_steps": 60, "trainer.save_freq": 20}
    options["sft_options"].update(longer)
    run = f"{RUN}-killed"
    cluster.run(f"rm -rf {run}")
    given = {"mnrun_run_dir": f"~/{run}", **options}
    assert mnrun("sft", **given, sft_wait=False).code == 0
    killed_at(cluster, 40, run)
    # verl would resume from it all the same, and train on the first rows again.
    cluster.run(f"rm {run}/sft/checkpoints/global_step_40/data_1.pt")
    resumed = mnrun("sft", **given)
    assert resumed.code == 0, resumed.text
    assert "step 60/60" in resumed.text
    assert "passed_over.global_step_40" in cluster.run(f"ls {run}/sft/checkpoints")
    log = cluster.run(f"cat $(ls -t {run}/sft/logs/*.out {run}/sft/logs/*.err | head -n 2)")
    assert "global_step_20" in log
    converted = mnrun("convert", "sft", **given)
    assert converted.code == 0, converted.text
    assert cluster.run(f"ls {run}/sft/converted | grep -c safetensors") == "1"


def test_a_checkpoint_at_the_end_of_each_epoch_is_accepted(cluster: Cluster) -> None:
    options = yaml.safe_load((HERE / "verl_0_9.yml").read_text())
    often = {"trainer.save_freq": "after_each_epoch", "trainer.test_freq": "after_each_epoch"}
    options["sft_options"].update(often)
    checked = mnrun("sft", "--check", mnrun_run_dir=f"~/{RUN}-epochs", **options)
    assert checked.code == 0, checked.text


@pytest.mark.parametrize(("algorithm", "parts"), [("ppo", "actor critic"), ("grpo", "actor")])
def test_ppo_trains_from_it(cluster: Cluster, algorithm: str, parts: str) -> None:
    options = yaml.safe_load((HERE / "verl_0_9.yml").read_text())
    given = {"mnrun_run_dir": f"~/{RUN}", "ppo_algorithm": algorithm, **options}
    trained = mnrun("ppo", **given)
    assert trained.code == 0, trained.text
    assert "step 2/2" in trained.text
    saved = cluster.run(f"cd {RUN}/ppo/checkpoints/global_step_2; echo */ | tr -d /")
    assert saved == parts
    again = mnrun("ppo", **given)
    assert (again.code, again.changed) == (0, 0), again.text
