"""What a profile makes of a stage's options: which count, which are refused, how they are given."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.mnrun.train.plugins.filter.trainer_stage import trainer_stage
from ansible_collections.mnrun.train.plugins.module_utils.trainer.progress import parse
from ansible_collections.mnrun.train.plugins.plugin_utils.profiles import SHIPPED, profile

VERL = profile("", [SHIPPED])
VALUES = {"train_files": ["/d/a"], "test_files": ["/d/b"], "output": "/o", "nodes": 2, "gpus": 8}


def ppo(given: dict[str, Any] | None = None, **how: Any) -> dict[str, Any]:
    return trainer_stage(VERL, "ppo", VALUES, given=given or {}, **how)


def own(syntax: str, **more: Any) -> dict[str, Any]:
    stage = {
        "launcher": "srun", "syntax": syntax, "checkpoint": {"folder": "{step}"}, "log": {}, **more
    }  # fmt: skip
    return {"name": "mine", "sft": stage}


def test_what_holds_a_place_does_not_decide_and_what_a_user_says_of_it_does() -> None:
    known = trainer_stage(VERL, "ppo", {**VALUES, "model": "/m"}, given={"a.b": 1})
    assert known["all"]["critic.model.path"] == known["all"]["actor_rollout_ref.model.path"] == "/m"
    assert known["decisive"] == {"trainer.nnodes": 2, "trainer.n_gpus_per_node": 8, "a.b": 1}
    other = ppo({"critic.model.path": "/c", "trainer.logger": ["console"]})
    assert other["decisive"]["critic.model.path"] == "/c"
    assert "trainer.logger" not in other["decisive"]
    assert "actor_rollout_ref.model.path" not in other["all"]  # not known before SFT is over


def test_how_often_to_save_is_set_where_that_is_open() -> None:
    every = '${MNRUN_SAVE_EVERY:+"trainer.save_freq=$MNRUN_SAVE_EVERY"}'
    found = trainer_stage(VERL, "sft", VALUES, given={}, minutes=5)
    assert found["save"] == [every, "${MNRUN_SAVE_EVERY:+trainer.max_ckpt_to_keep=3}"]
    assert found["words"]["save_every"] == {
        "option": "trainer.save_freq", "same_training": False, "open": True, "seconds": 300,
    }  # fmt: skip
    # Only what is decided by others counts as an option.
    assert "trainer.save_freq" not in found["decisive"]
    keeps = trainer_stage(VERL, "sft", VALUES, given={"trainer.max_ckpt_to_keep": 2})
    assert keeps["save"] == trainer_stage(VERL, "sft", VALUES, keep=True)["save"] == [every]
    # Set by the user, saved by the trainer itself when asked, no option for it, no such syntax.
    given = {"trainer.save_freq": 20}
    assert trainer_stage(VERL, "sft", VALUES, given=given)["save"] == ppo()["save"] == []
    other = {"save_every": "n", "keep_all": {"k": None}}
    assert trainer_stage(own("flags", **other), "sft", {})["save"] == [
        '${MNRUN_SAVE_EVERY:+"--n=$MNRUN_SAVE_EVERY"}', "${MNRUN_SAVE_EVERY:+--k=3}",
    ]  # fmt: skip
    assert trainer_stage(own("file", **other), "sft", {})["save"] == []
    assert trainer_stage(own("flags"), "sft", {})["save"] == []


def test_what_mnrun_sets_is_refused_with_its_variable() -> None:
    given = {
        "trainer.nnodes": 3,
        "trainer.default_local_dir": "/x",
        "actor_rollout_ref.model.path": "/m",
    }
    assert ppo(given)["refused"] == {
        "trainer.nnodes": "mnrun_nodes",
        "trainer.default_local_dir": "ppo_dir",
        "actor_rollout_ref.model.path": "ppo_model",
    }


@pytest.mark.parametrize("name", ["grpo", "rloo", "reinforce++"])
def test_an_algorithm_sets_what_belongs_together_and_free_options_win(name: str) -> None:
    found = ppo({"actor_rollout_ref.rollout.n": 8}, algorithm=name)
    assert found["parts"] == ["actor"]
    assert found["all"]["actor_rollout_ref.actor.use_kl_loss"] is True
    assert found["all"]["algorithm.use_kl_in_reward"] is False
    assert found["all"]["actor_rollout_ref.rollout.n"] == 8
    assert found["decisive"]["algorithm.adv_estimator"] == found["all"]["algorithm.adv_estimator"]


def test_without_an_algorithm_nothing_is_set() -> None:
    assert ppo()["parts"] == ["actor", "critic"]
    assert not [name for name in ppo()["all"] if name.startswith("algorithm")]
    with pytest.raises(AnsibleFilterError, match=r"ppo_algorithm is dpo, .*there are ppo, grpo"):
        ppo(algorithm="dpo")


def test_mnrun_deletes_checkpoints_instead_of_the_trainer() -> None:
    found = ppo({"trainer.max_actor_ckpt_to_keep": 1}, keep=True)
    assert found["all"]["trainer.max_actor_ckpt_to_keep"] is None
    assert "trainer.max_critic_ckpt_to_keep=null" in found["arguments"]


GIVEN = {"a.b": "x y", "list": [1, "b"], "on": True, "off": False, "none": None, "rate": 1e-5}


@pytest.mark.parametrize(
    ("syntax", "arguments"),
    [
        ("hydra", ["a.b='x y'", "list=[1,b]", "on=true", "off=false", "none=null", "rate=1e-05"]),
        ("flags", ["--a.b", "x y", "--list", "1", "b", "--on", "--rate", "1e-05"]),
        ("file", []),
    ],
)
def test_options_in_each_syntax(syntax: str, arguments: list[str]) -> None:
    found = trainer_stage(own(syntax), "sft", VALUES, given=GIVEN)
    assert found["arguments"] == arguments
    if syntax == "file":
        assert json.loads(found["files"]["options.json"]) == GIVEN


def test_options_as_environment_variables() -> None:
    found = trainer_stage(own("env"), "sft", VALUES, given={"RATE": 1e-5, "ON": True, "L": [1]})
    assert found["variables"] == {"RATE": "1e-05", "ON": "true", "L": "[1]"}
    with pytest.raises(AnsibleFilterError, match="cannot be the name of an environment variable"):
        trainer_stage(own("env"), "sft", VALUES, given={"a.b": 1})


@pytest.mark.parametrize(
    ("syntax", "shown"),
    [
        ("flags", '${MNRUN_RESUME_FROM:+"--from" "$MNRUN_RESUME_FROM"}'),
        ("hydra", '${MNRUN_RESUME_FROM:+"from=$MNRUN_RESUME_FROM"}'),
        ("env", ""),
    ],
)
def test_how_a_checkpoint_to_resume_from_is_given(syntax: str, shown: str) -> None:
    saved = {"folder": "{step}", "resume": "option", "resume_option": "from"}
    assert trainer_stage(own(syntax, checkpoint=saved), "sft", VALUES)["resume"] == shown


def test_a_stage_that_a_profile_lacks_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="profile mine has no ppo; choose another"):
        trainer_stage(own("flags"), "ppo", VALUES)


def test_a_lora_adapter_by_one_variable_is_the_one_by_options() -> None:
    found = ppo(lora={"rank": 8, "alpha": 32})
    assert (found["has_adapter"], found["lora_alpha"]) == (True, 32)
    assert found["decisive"]["actor_rollout_ref.model.lora_rank"] == 8
    assert found["all"]["actor_rollout_ref.rollout.load_format"] == "safetensors"
    own = {
        "actor_rollout_ref.model.lora_rank": 8,
        "actor_rollout_ref.model.lora_alpha": 32,
        "actor_rollout_ref.rollout.load_format": "safetensors",
    }
    assert ppo(own)["decisive"] == found["decisive"]
    sft = trainer_stage(VERL, "sft", VALUES, lora={"rank": 4, "alpha": 0})
    assert (sft["has_adapter"], sft["lora_alpha"]) == (True, 16)
    assert "model.lora_alpha" not in sft["all"]


def test_a_users_own_lora_options_win() -> None:
    given = {"actor_rollout_ref.model.lora_rank": 0, "actor_rollout_ref.rollout.load_format": "hf"}
    found = ppo(given, lora={"rank": 8, "alpha": 0})
    assert not found["has_adapter"]
    assert found["all"]["actor_rollout_ref.rollout.load_format"] == "hf"


def test_without_a_rank_nothing_of_lora_is_set() -> None:
    assert ppo(lora={"rank": 0, "alpha": 0}) == ppo()
    assert not ppo()["has_adapter"]


@pytest.mark.parametrize(
    ("lora", "names", "why"),
    [
        ({"rank": 0, "alpha": 4}, {"rank": "r"}, "sft_lora_alpha has no effect without"),
        ({"rank": 4, "alpha": 0}, {}, "sft_lora_rank is 4, but its trainer profile has no LoRA"),
        ({"rank": 4, "alpha": 2}, {"rank": "r"}, "sft_lora_alpha is 2, which its trainer profile"),
    ],
)
def test_lora_that_a_profile_cannot_have_is_refused(
    lora: dict[str, int], names: dict[str, str], why: str
) -> None:
    with pytest.raises(AnsibleFilterError, match=why):
        trainer_stage(own("flags", lora=names), "sft", {}, lora=lora)


def trl(name: str, given: dict[str, Any] | None = None, **values: Any) -> dict[str, Any]:
    known = {**VALUES, "model": "/m", **values}
    return trainer_stage(profile(name, [SHIPPED]), "sft", known, given=given or {})


def test_an_options_file_may_have_an_option_and_keeps_what_is_false() -> None:
    found = trl("trl", {"gradient_checkpointing": False})
    assert found["file_argument"] == '--config "$MNRUN_RECORD/options.json"'
    written = json.loads(found["files"]["options.json"])
    assert (written["train_files"], written["gradient_checkpointing"]) == (["/d/a"], False)
    assert found["decisive"] == {"gradient_checkpointing": False}


def test_a_place_within_an_option_is_filled_and_does_not_decide() -> None:
    found = trl("trl-cli", {"datasets": []})
    assert found["refused"] == {"datasets": "mnrun_train_files"}
    data = trl("trl-cli")["all"]["datasets"]
    assert data == [{"path": "parquet", "data_files": ["/d/a"], "columns": ["messages"]}]
    assert "datasets" not in trl("trl-cli")["decisive"]


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"nodes": 2, "gpus": 1}, ["rng_state_0.pth", "rng_state_1.pth"]),
        ({"nodes": 1, "gpus": 0}, ["rng_state.pth"]),
        ({"nodes": 0}, ["rng_state*.pth"]),
    ],
)
def test_a_checkpoint_has_a_file_of_each_rank(values: dict[str, Any], names: list[str]) -> None:
    files = trl("trl", **values)["words"]["checkpoint"]["files"]
    assert [name for name in files if name.startswith("rng")] == names


def test_a_list_may_be_one_text_with_commas_and_each_rank_has_a_number() -> None:
    values = {**VALUES, "model": "/m", "train_files": ["/d/a", "/d/b"]}
    found = trainer_stage(profile("openrlhf", [SHIPPED]), "sft", {**values, "nodes": 1, "gpus": 2})
    at = found["arguments"].index("--data.dataset")
    assert found["arguments"][at + 1] == "/d/a,/d/b"
    assert found["words"]["checkpoint"]["files"][1:] == [
        "*zero_pp_rank_0_mp_rank_00_optim_states.pt",
        "*zero_pp_rank_1_mp_rank_00_optim_states.pt",
    ]
    assert found["refused"] == {}


@pytest.mark.parametrize(
    ("rollout", "strategy", "name", "faults"),
    [
        ("hf", "fsdp2", "verl-0.5", 1),
        ("hf", "fsdp", "verl-0.5", 0),
        ("vllm", "fsdp2", "verl-0.5", 0),
        ("hf", "fsdp2", "verl-0.9", 0),
    ],
)
def test_an_adapter_that_a_rollout_cannot_use_is_refused(
    rollout: str, strategy: str, name: str, faults: int
) -> None:
    given = {
        "actor_rollout_ref.rollout.name": rollout,
        "actor_rollout_ref.actor.strategy": strategy,
    }
    own = profile(name, [SHIPPED])
    found = trainer_stage(own, "ppo", VALUES, given=given, lora={"rank": 8})
    assert len(found["faults"]) == faults
    assert trainer_stage(own, "ppo", VALUES, given=given)["faults"] == []


def openrlhf(**given: Any) -> dict[str, Any]:
    values = {**VALUES, "model": "/m", "nodes": 2, "gpus": 4}
    return trainer_stage(profile("openrlhf", [SHIPPED]), "ppo", values, given=given)


def test_openrlhf_is_on_all_gpus_together_with_its_engines() -> None:
    found = openrlhf(**{"reward.remote_url": "/r.py"})
    used = found["all"]
    assert (used["actor.num_nodes"], used["critic.num_gpus_per_node"]) == (2, 4)
    assert used["vllm.num_engines"] == 8
    assert (found["faults"], found["parts"]) == ([], ["_actor", "_critic"])
    without = openrlhf(**{"reward.remote_url": "/r.py", "algo.advantage.estimator": "rloo"})
    assert without["parts"] == ["_actor"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, ["nothing gives a reward", "only with reward.remote_url"]),
        ({"reward.model_name_or_path": "/r"}, ["only with reward.remote_url"]),
        ({"reward.model_name_or_path": "/r", "eval.dataset": None}, []),
        ({"train.agent_func_path": "/a.py"}, []),
        ({"reward.remote_url": "/r.py", "logger.wandb.key": "0123abcd"}, ["the word wandb"]),
        ({"reward.remote_url": "/r.py", "logger.wandb.key": "wandb"}, []),
        ({"reward.remote_url": "/r.py", "train.async_enable": True}, ["needs GPUs for vLLM alone"]),
    ],
)
def test_what_openrlhf_would_fail_on_is_refused(given: dict[str, Any], words: list[str]) -> None:
    faults = openrlhf(**given)["faults"]
    assert len(faults) == len(words)
    assert all(word in fault for word, fault in zip(words, faults, strict=True))
    assert "0123abcd" not in str(faults)


RAY = "\x1b[36m(PPOTrainer pid=41, ip=10.0.0.2)\x1b[0m INFO 11-27 17:02:11 ppo_trainer.py"
OPENRLHF_LOG = (
    f"{RAY}:530] ✨ Global step 4: {{'policy_loss': -0.02, 'rollout/reward_mean': 0.4375,"
    " 'rollout/num_samples': 16.0, 'timing/step_total': 9.5}\n"
    f"{RAY}:175] Sample: [\"✨ Global step 9: {{'rollout/reward_mean': 7}}\", 1.0]\n"
    f"{RAY}:598] ✨ Evaluation completed in 0:00:03, global_step 4, eval_metrics:"
    " {'eval_default_pass4': 0.9, 'eval_default_pass1': 0.5, 'eval_truncated_rate': 0.0}\n"
)


def test_what_openrlhf_prints_is_read() -> None:
    progress = parse(OPENRLHF_LOG, openrlhf()["words"])
    assert progress.step == 4
    assert (progress.metrics["reward"], progress.metrics["val_reward"]) == (0.4375, 0.5)


LOG = """total_steps=4
step=2 loss=6.4 grad_norm=6.2 epoch=0.003
{'loss': '6.413', 'grad_norm': '6.203', 'epoch': '0.003'}
step=4 eval_loss=3.5 eval_runtime=0.2 epoch=0.01
"""


@pytest.mark.parametrize(
    ("name", "log", "found"),
    [
        ("trl", LOG, (4, 4, {"loss": 6.4, "val_loss": 3.5})),
        ("trl-cli", "[transformers]   Total optimization steps = 200\n", (None, 200, {})),
    ],
)  # fmt: skip
def test_what_trl_prints_is_read(name: str, log: str, found: tuple[Any, ...]) -> None:
    progress = parse(log, trl(name)["words"])
    last = {name: value for name, value in progress.metrics.items() if name[:6] != "first_"}
    assert (progress.step, progress.total, last) == found


def test_the_launcher_gets_its_own_options_and_whether_it_resumes_is_said() -> None:
    fsdp = {"use_fsdp": True, "fsdp_version": 2}
    assert trainer_stage(own("flags", launcher_options=fsdp), "sft", VALUES)["launcher"] == [
        "--use_fsdp", "--fsdp_version", "2"
    ]  # fmt: skip
    assert (trl("trl")["resumes"], trl("trl-cli")["resumes"]) == (True, False)


def test_options_that_fail_together_are_refused() -> None:
    hf = {"actor_rollout_ref.rollout.name": "hf"}
    assert ppo(hf)["faults"] == []
    assert ppo(algorithm="grpo")["faults"] == []
    (fault,) = ppo(hf, algorithm="grpo")["faults"]
    assert "several answers (rollout.n) fail" in fault
    newer = profile("verl-0.9", [SHIPPED])
    assert trainer_stage(newer, "ppo", VALUES, given=hf, algorithm="grpo")["faults"] == []
