"""After a finished run: what is damaged is noticed, and done again with what depends on it, no
more. And PPO from a LoRA training. Real trainings, and so long; each goes on from the last."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import Cluster
from .mnrun import Run, mnrun

pytestmark = [pytest.mark.sandbox, pytest.mark.torture, pytest.mark.timeout(1800)]

RUN = f"~/training/chain-{time.time():.0f}"
SFT = {"trainer.total_training_steps": 8, "trainer.save_freq": 2, "trainer.test_freq": 2}
PPO = {
    "trainer.total_training_steps": 4,
    "trainer.save_freq": 1,
    "trainer.test_freq": 2,
    "data.train_batch_size": 32,
    "actor_rollout_ref.actor.ppo_mini_batch_size": 32,
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu": 16,
    "critic.ppo_micro_batch_size_per_gpu": 16,
}
CHAT = "chat-of-chain.jinja"
MORE = {
    "mnrun_chat_template": f"~/{CHAT}",
    "sft_keep": {"newest": 2, "every": 4, "best": True},
    "ppo_keep": {"newest": 2},
    "convert_score_rows": 32,
}
LORA = {**SFT, "model.lora_rank": 8, "model.lora_alpha": 32, "optim.lr": 1e-2}
# Other weights under the same names, as another order of sums on a GPU would give.
SHAKEN = """
import sys, torch
for path in sys.argv[1:]:
    state = torch.load(path, weights_only=False)
    with torch.no_grad():
        for tensor in state.values():
            getattr(tensor, "_local_tensor", tensor).mul_(1.01)
    torch.save(state, path)
"""


def run_all(*arguments: str, folder: str = RUN, **variables: Any) -> Run:
    given = {"sft_overrides": SFT, "ppo_overrides": PPO, **MORE, **variables}
    return mnrun("all", *arguments, timeout=1500, mnrun_run_dir=folder, **given)


@pytest.fixture(scope="module")
def trained(sandbox: Cluster) -> Iterator[Cluster]:
    """A sandbox with a finished short run."""
    # The model's own template, with a mark by which it is known again.
    python = "import json, sys; print('{# mine #}' + json.load(sys.stdin)['chat_template'])"
    model = "model/Llama-3.2-1B-Instruct"
    own = f"(echo -n '{{# mine #}}'; cat {model}/chat_template.jinja) > {CHAT}"
    old = f'python3 -c "{python}" < {model}/tokenizer_config.json > {CHAT}'
    sandbox.run(f"test -e {model}/chat_template.jinja && {own} || {old}")
    run = run_all()
    assert run.code == 0, run.text
    yield sandbox
    sandbox.run(f"rm -rf {RUN}*")


def jobs(cluster: Cluster, folder: str = RUN) -> Counter[str]:
    """How many jobs each stage of the run has had."""
    home = cluster.run("echo $HOME")
    lines = cluster.run("sacct -X -P -n -S 2020-01-01 -o JobName,Comment").splitlines()
    mine = [line for line in lines if f"run={folder.replace('~', home)} " in line]
    return Counter(re.sub(r"-[0-9a-f]{8}-\d+$", "", line.partition("|")[0]) for line in mine)


def outputs(cluster: Cluster) -> dict[str, str]:
    """By stage, what the weights of its result are."""
    paths = cluster.run(f"ls -tr {RUN}/.mnrun/*/*/record.json").split()
    records = [json.loads(cluster.run(f"cat {path}")) for path in paths]
    return {record["stage"]: record["output"]["content"] for record in records if record["output"]}


def again(cluster: Cluster, **variables: Any) -> tuple[set[str], Run]:
    """See what would be done, do it, see that nothing is left to do. The stages that had jobs."""
    before = jobs(cluster)
    looked = run_all("--check", **variables)
    assert looked.code == 0, looked.text
    assert jobs(cluster) == before
    run = run_all(**variables)
    assert run.code == 0, run.text
    after = jobs(cluster)
    idle = run_all(**variables)
    assert (idle.code, idle.changed) == (0, 0), idle.text
    assert jobs(cluster) == after
    return set(after - before), looked


def steps(cluster: Cluster, stage: str) -> list[int]:
    names = cluster.run(f"ls {RUN}/{stage}/checkpoints").split()
    return sorted(int(name.rpartition("_")[2]) for name in names if name.startswith("global_step_"))


def test_the_checkpoints_stay_that_are_to(trained: Cluster) -> None:
    kept = steps(trained, "sft")
    # The loss still falls, so the newest is the best one; of 2, 4, 6, 8 the first went.
    assert kept == [4, 6, 8], kept
    assert steps(trained, "ppo") == [3, 4]
    log = trained.run(f"cat {RUN}/sft/logs/*.out")
    assert re.search(r"^mnrun: checkpoints kept: .*8 \(best\)", log, re.MULTILINE), log[-3000:]


def test_a_damaged_conversion_of_sft(trained: Cluster) -> None:
    trained.run(f"truncate -s -10 {RUN}/sft/converted/model.safetensors")
    done, looked = again(trained)
    assert (looked.changed, done) == (1, {"convert-sft"})


def test_a_conversion_of_ppo_that_is_gone(trained: Cluster) -> None:
    trained.run(f"rm -r {RUN}/ppo/converted")
    done, looked = again(trained)
    assert (looked.changed, done) == (1, {"convert-ppo"})


def test_a_damaged_shard_of_sft_that_comes_to_the_same_weights(trained: Cluster) -> None:
    before = outputs(trained)
    trained.run(f"truncate -s -10 {RUN}/sft/checkpoints/global_step_8/model_world_size_2_rank_1.pt")
    done, looked = again(trained)
    assert "if SFT comes to the same weights" in looked.text, looked.text
    assert outputs(trained) == before
    assert done == {"training_sft"}


def test_a_damaged_shard_of_sft_that_comes_to_other_weights(trained: Cluster) -> None:
    before, folder = outputs(trained), f"{RUN}/sft/checkpoints"
    trained.run(f"rm {folder}/global_step_8/model_world_size_2_rank_0.pt")
    script = trained.home / "shaken.py"
    script.write_text(SHAKEN)
    shards = f"{folder}/global_step_6/model_world_size_2_rank_*.pt"
    trained.run(f"~/conda_env/bin/python ~/shaken.py {shards}")
    done, looked = again(trained)
    after = outputs(trained)
    assert after["sft"] != before["sft"]
    assert after["ppo"] != before["ppo"]
    assert done == {"training_sft", "verl-ray-ppo", "convert-sft", "convert-ppo"}
    assert looked.changed >= 3, looked.text


def test_a_damaged_checkpoint_of_ppo(trained: Cluster) -> None:
    before = outputs(trained)
    trained.run(
        f"truncate -s -10 {RUN}/ppo/checkpoints/global_step_4/actor/model_world_size_2_rank_0.pt"
    )
    done, looked = again(trained)
    assert looked.changed >= 2, looked.text  # a Ray cluster, and PPO on it
    other = {"convert-ppo"} if outputs(trained)["ppo"] != before["ppo"] else set()
    assert done == {"verl-ray-ppo"} | other


def test_a_changed_option_and_a_changed_log(trained: Cluster) -> None:
    changed = {**SFT, "optim.lr": 1e-3}
    run = run_all("--check", "--diff", sft_overrides=changed)
    assert "+    optim.lr=0.001" in run.text, run.text
    assert run.changed == 4, run.text  # SFT, PPO, its Ray cluster, the conversions
    run = run_all("--check", "--diff", sft_overrides={**SFT, "trainer.logger": ["console"]})
    assert run.changed == 0, run.text


def test_ppo_from_a_lora_training(sandbox: Cluster) -> None:
    folder = f"{RUN}-lora"
    run = run_all(folder=folder, sft_overrides=LORA)
    assert run.code == 0, run.text
    found = {
        stage: json.loads(sandbox.run(f"cat {folder}/{stage}/converted/mnrun_manifest.json"))
        for stage in ("sft", "ppo")
    }
    assert found["sft"]["lora"]["rank"] == 8
    assert found["ppo"]["lora"] is None
    # PPO also trains what LoRA leaves as it is, and began with what was converted.
    assert found["ppo"]["tensors"]["count"] == found["sft"]["tensors"]["count"] == 20
    assert found["ppo"]["tensors"]["changed"] > found["sft"]["tensors"]["changed"] == 14
    script = sandbox.run(f"cat {folder}/.mnrun/ppo/*/script.sh")
    assert f"actor_rollout_ref.model.path=/home/mluser/{folder[2:]}/sft/converted" in script
    merged, begun = (
        found["sft"]["scores"]["models"]["sft"],
        found["ppo"]["scores"]["models"]["start"],
    )
    assert begun == merged
    count = jobs(sandbox, folder)
    assert count == {"training_sft": 1, "convert-sft": 1, "verl-ray-ppo": 1, "convert-ppo": 1}
    idle = run_all(folder=folder, sft_overrides=LORA)
    assert (idle.code, idle.changed) == (0, 0), idle.text
    sandbox.run(f"rm -rf {folder}")
