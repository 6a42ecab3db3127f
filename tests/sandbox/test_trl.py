"""TRL on the CPU, without Ray, in a training environment of its own. `make trainers` runs this."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import Cluster, playbook
from .mnrun import Run, mnrun
from .place import environments
from .test_trainer import FILES, last_line

HERE = Path(__file__).parent / "files"
RUN = "training/trl"
SAVED = f"{RUN}/sft/checkpoints"
NEWEST_LOG = f"$(ls -t {RUN}/sft/logs/*.out | head -n 1)"

REWARD = "/home/mluser/own_reward.py:right"

pytestmark = [pytest.mark.sandbox, pytest.mark.trainers, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def cluster(sandbox: Cluster) -> Iterator[Cluster]:
    """A sandbox with TRL's environment, which is built here, once."""
    install = FILES / "env" / "install.py"
    last_line(
        ["/usr/bin/python3", install, "--trainer=trl", f"--root={environments()}"], timeout=1800
    )
    both = '{"sandbox_trainers": ["verl-0.5", "trl"]}'
    playbook("playbooks/sandbox_up.yml", "-i", "inventory/sandbox", "-e", both)
    sandbox.run(f"rm -rf {RUN}")
    yield sandbox
    sandbox.end_jobs(RUN, word="USR1")


def command(name: str, profile: str = "trl", /, **given: Any) -> Run:
    form = "trl-grpo" if profile == "trl-grpo" else "trl"
    options = yaml.safe_load((HERE / f"{form}.yml").read_text())
    own = options.pop("sft_options") | given.pop("options", {})
    options["mnrun_trainer"] = profile
    options["mnrun_tracker"] = "none"  # its environment has none
    return mnrun(name, mnrun_run_dir=f"~/{RUN}", sft_options=own, **{**options, **given})


def grpo(name: str = "sft", /, **given: Any) -> Run:
    options = {"reward_funcs": [REWARD], **given.pop("options", {})}
    return command(name, "trl-grpo", options=options, **given)


def killed(cluster: Cluster, profile: str, options: dict[str, Any]) -> None:
    """A training of which SIGKILL ends a rank after its first checkpoint."""
    train = grpo if profile == "trl-grpo" else partial(command, "sft", profile)
    started = train(options=options, sft_wait=False)
    assert started.code == 0, started.text
    cluster.wait(f"ls {SAVED}", r"\bcheckpoint-20\b", timeout=300)
    cluster.run("kill -9 $(pgrep -f '[-]-config /.*options.json' | tail -n 1)", "root@osk-gpu95")
    cluster.wait("squeue --me -h -o %j; echo end", "^end$", timeout=120)


def test_it_trains_once(cluster: Cluster) -> None:
    first = command("sft")
    assert first.code == 0, first.text
    assert "step 6/6" in first.text
    there = set(cluster.run(f"ls {SAVED}/checkpoint-6").split())
    assert {"rng_state_0.pth", "rng_state_1.pth", "trainer_state.json"} <= there
    again = command("sft")
    assert (again.code, again.changed) == (0, 0), again.text


def test_its_model_is_copied(cluster: Cluster) -> None:
    converted = command("convert", convert_stages=["sft"], convert_score=False)
    assert converted.code == 0, converted.text
    assert "model.safetensors" in cluster.run(f"ls {RUN}/sft/converted")


def test_a_damaged_last_checkpoint_is_noticed(cluster: Cluster) -> None:
    cluster.run(f"rm {SAVED}/checkpoint-6/rng_state_1.pth")
    again = command("sft")
    assert again.code == 0, again.text
    assert "rng_state_1.pth. The next attempt resumes from step 4." in again.text
    assert "checkpoint-4" in cluster.run(f"cat {RUN}/.mnrun/sft/*/resume")
    assert "step=5 " in cluster.run(f"cat {NEWEST_LOG}")
    assert "step=4 " not in cluster.run(f"cat {NEWEST_LOG}")


def test_options_that_its_parser_refuses_are_reported_at_once(cluster: Cluster) -> None:
    before = cluster.run(f"ls {RUN}/sft/logs")
    bad = {"learning_rat": 1.0, "save_steps": "two", "optim": "adamm_torch"}
    for profile in ("trl", "trl-cli"):
        refused = command("sft", profile, options=bad)
        assert refused.code != 0
        assert "the trainer has no option learning_rat; did you mean learning_rate" in refused.text
        assert "save_steps is 'two', but the trainer expects a number" in refused.text
        assert "optim is 'adamm_torch', but" in refused.text
        assert "did you mean adamw_torch?" in refused.text
    assert cluster.run(f"ls {RUN}/sft/logs") == before


def test_a_killed_training_resumes(cluster: Cluster) -> None:
    options = {"max_steps": 200, "save_steps": 20}
    killed(cluster, "trl", options)
    resumed = command("sft", options=options)
    assert resumed.code == 0, resumed.text
    assert "(attempt 2)" in resumed.text
    assert "step=1 " not in cluster.run(f"cat {NEWEST_LOG}")


def test_trls_own_command_starts_over_and_loses_nothing(cluster: Cluster) -> None:
    options = {"max_steps": 200, "save_steps": 20, "logging_steps": 50}
    killed(cluster, "trl-cli", options)
    again = command("sft", "trl-cli", options=options)
    assert again.code == 0, again.text
    assert "starts from the beginning, as this trainer does not resume" in again.text
    there = cluster.run(f"ls {SAVED}").split()
    assert {"passed_over.checkpoint-20", "checkpoint-20", "checkpoint-200"} <= set(there)
    done = command("sft", "trl-cli", options=options)
    assert (done.code, done.changed) == (0, 0), done.text


def test_it_saves_before_the_time_limit(cluster: Cluster) -> None:
    options = {"max_steps": 100000, "save_steps": 100000, "logging_steps": 1000}
    started = command("sft", options=options, sft_wait=False, sft_sbatch={"time": 2})
    assert started.code == 0, started.text
    cluster.wait(f"ls {SAVED}/checkpoint-*", "trainer_state.json", timeout=300)
    cluster.wait("squeue --me -h -o %j; echo end", "^end$", timeout=300)
    assert " CANCELLED AT " in cluster.run(f"cat {RUN}/sft/logs/*.err")


@pytest.fixture(scope="module")
def rewards(cluster: Cluster) -> Path:
    """The user's own reward function; runs are of GRPO from here on."""
    cluster.run(f"rm -rf {RUN}")
    own = cluster.home / "own_reward.py"
    shutil.copy(HERE / own.name, own)
    return own


def test_grpo_trains_once_and_its_reward_is_shown(cluster: Cluster, rewards: Path) -> None:
    assert rewards.is_file()
    first = grpo()
    assert first.code == 0, first.text
    assert "step 6/6" in first.text
    assert "reward" in first.text
    again = grpo()
    assert (again.code, again.changed) == (0, 0), again.text
    converted = grpo("convert", convert_stages=["sft"], convert_score=False)
    assert converted.code == 0, converted.text
    assert "model.safetensors" in cluster.run(f"ls {RUN}/sft/converted")


def test_grpo_without_a_reward_that_can_be_called_is_refused(rewards: Path) -> None:
    refused = grpo(options={"reward_funcs": [f"/home/mluser/{rewards.name}:wrong"]})
    assert refused.code != 0
    assert "has no function wrong" in refused.text
    assert "reward_funcs is not set" in grpo(options={"reward_funcs": []}).text


def test_a_changed_reward_trains_again(cluster: Cluster, rewards: Path) -> None:
    rewards.write_text(f"{rewards.read_text()}\n# another one\n")
    changed = grpo()
    assert changed.code == 0, changed.text
    assert changed.changed > 0
    assert "step 6/6" in changed.text
    assert "sft/checkpoints." in cluster.run(f"ls -d {RUN}/sft/checkpoints.*")


def test_a_killed_grpo_resumes(cluster: Cluster, rewards: Path) -> None:
    assert rewards.is_file()
    options = {"max_steps": 100, "save_steps": 20}
    killed(cluster, "trl-grpo", options)
    resumed = grpo(options=options)
    assert resumed.code == 0, resumed.text
    assert "(attempt 2)" in resumed.text
    assert "step=1 " not in cluster.run(f"cat {NEWEST_LOG}")
