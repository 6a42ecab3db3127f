"""The check of all variables before anything is touched, run as Ansible runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mnrun.train.plugins.plugin_utils.option_faults import (
    placeholders,
    text_faults,
)

ROOT = Path(__file__).parents[3]
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - mnrun.train.validate:
        roles: "{{ roles_of_this }}"
"""
GOOD = {
    "mnrun_run_dir": "~/training/multinode",
    "environment_conda_prefix": "~/conda_env",
    "environment_modules": ["nccl/2.22.3"],
    "environment_wandb_project": "{{ team }}-project",
    "team": "blue",
    "roles_of_this": ["environment"],
}
WITH_WANDB = {
    **GOOD,
    "environment_wandb_entity": "YOU_TEAM",
    "environment_wandb_project": "CHANGEME",
}
STAGES = {
    **GOOD,
    "mnrun_model": "~/m", "mnrun_train_files": ["~/a"], "mnrun_test_files": ["~/b"],
    "mnrun_nodes": 1, "mnrun_gpus_per_node": 1, "mnrun_partition": "gpu",
    "roles_of_this": ["sft", "ppo"],
}  # fmt: skip
# Each is a host of one play, which is started once for them all.
HOSTS: dict[str, dict[str, Any]] = {
    "good": {
        **GOOD,
        "environment_result": {}, "_environment_x": 1, "__sft_y": 2, "environ": 3,
        "environment_sbatch": "{{ preflight_result.rows }}",  # not known before its task
    },
    "mistyped-prefix": {
        **GOOD,
        "enviroment_variables": {}, "Environment_Modules": [], "mnrum_run_dir": "/x",
        "team_partition": "a", "my_environment": "b", "run_dir": "/x", "variables": {},
    },
    "services": {
        **STAGES,
        "mnrun_services": [
            {"name": "judge", "command": ["serve"], "nodes": 1, "gpus": 1, "health": "health"},
            {"name": "judge", "command": ["serve", "--api-key", "hush"]},
        ],
    },
    "services-of-a-wrong-type": {
        **STAGES, "mnrun_services": [{"name": "judge", "comand": ["serve"], "gpus": "many"}],
    },
    "wandb": WITH_WANDB,
    "no-wandb": {**WITH_WANDB, "environment_wandb_mode": "disabled"},
    "no-wandb-in-the-trainers": {
        **WITH_WANDB,
        "sft_options": {"trainer.logger": ["console"]},
        "ppo_overrides": {"trainer.logger": "console"},
    },
    "renamed": {**GOOD, "data_check_fetch": True},
    "placeholder": {
        **GOOD,
        "team": "YOU_TEAM",
        "environment_wandb_project": "project",
        "environment_sbatch": {"partition": "{{ team }}"},
        "environment_wandb_entity": "{{ team }}",
    },
    "beside": {
        **GOOD,
        "environment_modules": ["a\nb", ""], "mnrun_test_files": ["~/data/my test"],
        "mnrun_model": "~/m", "mnrun_train_files": ["~/data/train"],
        "roles_of_this": ["environment", "preflight"],
    },
    "hidden": {**GOOD, "environment_wandb_key": "se\ncret"},
    "lora": {**STAGES, "sft_lora_rank": "8", "sft_lora_alpha": 16, "ppo_lora_rank": 4},
    "lora-no-rank": {**STAGES, "sft_lora_rank": 0, "ppo_lora_rank": -1, "ppo_lora_alpha": 1.5},
    "lora-no-number": {**STAGES, "sft_lora_rank": "eight", "ppo_lora_rank": True},
    "lora-nowhere": {
        **STAGES, "mnrun_trainer": "torchrun", "sft_trainer": "~/t.py", "sft_lora_rank": 8,
        "ppo_lora_alpha": 8, "ppo_trainer": "~/t.py",
    },
    "algorithm": {**STAGES, "ppo_algorithm": "dpo"},
    "image-and-conda": {
        **GOOD, "environment_image": "/a.sif", "environment_conda_prefix": "~/mine",
        "environment_conda_spec": "/env.yml", "environment_modlues": [],
    },
    "image-alone": {**GOOD, "environment_image": "/a.sif"},
    "no-image": {**GOOD, "environment_image_binds": ["/x"]},
    "no-role": {**GOOD, "roles_of_this": ["enviroment"]},
}  # fmt: skip


def validate(folder: Path, hosts: dict[str, dict[str, Any]], *more: str) -> dict[str, str]:
    """Run the action for hosts with these variables: its messages, "" where all is well."""
    (folder / "host_vars").mkdir()
    for host, variables in hosts.items():
        lines = [f"{name}: {json.dumps(value)}\n" for name, value in variables.items()]
        (folder / "host_vars" / f"{host}.yml").write_text("".join(lines))
    (folder / "hosts").write_text("".join(f"{host} ansible_connection=local\n" for host in hosts))
    (folder / "ansible.cfg").touch()
    (folder / "play.yml").write_text(PLAY)
    playbook = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [playbook, "-i", "hosts", "play.yml", *more],
        cwd=folder,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
            "ANSIBLE_HOME": str(folder / "home"),
            "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
            "ANSIBLE_FORKS": "2",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout.count(" changed=0 ") == len(hosts), done.stdout + done.stderr
    assert "[DEPRECATION WARNING]" not in done.stderr, done.stderr
    failed = re.findall(r"^fatal: \[(.*)\]: FAILED! => (.*)$", done.stdout, re.MULTILINE)
    passed = re.findall(r"^ok: \[(.*)\]$", done.stdout, re.MULTILINE)
    assert sorted([*passed, *(host for host, _ in failed)]) == sorted(hosts)
    assert bool(done.returncode) == bool(failed)
    return dict.fromkeys(passed, "") | {
        host: str(json.loads(result)["msg"]) for host, result in failed
    }


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What is reported for each of the hosts."""
    return validate(tmp_path_factory.mktemp("validate"), HOSTS)


def test_good_variables_pass(messages: dict[str, str]) -> None:
    assert messages["good"] == ""


def test_all_faults_come_at_once_each_with_its_place(tmp_path: Path) -> None:
    bad = {
        **GOOD,
        "environment_modules": {"nccl": 1},
        "environment_wandb_mode": "sometimes",
        "environment_wandb_entity": "YOU_TEAM_ENTITY_NAME",
        "environment_wandb_key": "YOUR_KEY",
        "environment_conda_prefix": "/home/me/it's here",
        "environment_wandb_project": "{{ nobody }}",
        "environment_modlues": [],
        "environment_variables": {"A": {"B": ["CHANGE_ME"]}},
        "mnrun_rundir": "/x",
    }
    del bad["mnrun_run_dir"]
    message = validate(tmp_path, {"bad": bad}, "-e", "environment_wait_timeout=soon")["bad"]
    lines = message.splitlines()
    names = list(bad)
    for number, (name, words) in enumerate(
        {
            "environment_modlues": ["did you mean environment_modules?"],
            "mnrun_rundir": ["any role", "did you mean mnrun_run_dir?"],
            "mnrun_run_dir": ["not set", "-e mnrun_run_dir=VALUE"],
            "environment_modules": ["{'nccl': 1}", "a list, each item a text"],
            "environment_wandb_mode": ["'sometimes'", "auto, online, offline, disabled"],
            "environment_wandb_entity": ["placeholder YOU_TEAM_ENTITY_NAME", "user or team"],
            "environment_wandb_key": ["placeholder YOUR_KEY"],
            "environment_conda_prefix": ["it's here", "in a path", "letters, digits"],
            "environment_wandb_project": ["depends on nobody, which is not set"],
            "environment_variables": ["placeholder CHANGE_ME"],
            "environment_wait_timeout": ["'soon'", "a whole number", "-e"],
        }.items()
    ):
        line = next(line for line in lines if f". {name}" in line.replace(",", " ").split(":")[0])
        assert all(word in line for word in words), (number, line)
        if name in names:
            assert f"in host_vars/bad.yml:{names.index(name) + 1}" in line
    assert lines[0] == "11 variables must be set or corrected. Nothing was started."
    assert len(lines) == 12


def test_a_variable_whose_prefix_is_mistyped_is_not_passed_over(messages: dict[str, str]) -> None:
    message = messages["mistyped-prefix"]
    assert message.startswith("3 variables must be")
    for name, meant in {
        "enviroment_variables": "variables",
        "Environment_Modules": "modules",
        "mnrum_run_dir": "run_dir",
    }.items():
        line = next(line for line in message.splitlines() if name in line)
        assert line.endswith(f"{meant}?")


def test_a_mapping_that_is_given_twice_is_not_dropped(tmp_path: Path) -> None:
    first, second = (f'{{"environment_variables": {{"{name}": "1"}}}}' for name in "AB")
    (tmp_path / "more.yml").write_text("environment_variables: {C: '1'}\n")
    # A file counts as well; another mapping and what is not one do not.
    others = ["-e", "x=1", "-e", "x=2", "-e", '{"environment_limits": {}}']
    message = validate(
        tmp_path, {"twice": GOOD}, "-e", first, "-e", "@more.yml", "-e", second, *others
    )["twice"]
    assert message.startswith("One variable must be")
    assert "environment_variables: given 3 times with -e" in message


@pytest.mark.parametrize("without", ["no-wandb", "no-wandb-in-the-trainers"])
def test_the_names_of_wandb_are_not_demanded_without_it(
    messages: dict[str, str], without: str
) -> None:
    assert "2 variables must be set" in messages["wandb"]
    assert messages[without] == ""


def test_an_option_of_a_role_that_was_renamed_is_refused_with_its_name_of_today(
    messages: dict[str, str],
) -> None:
    assert "data_check_fetch: is now called preflight_fetch" in messages["renamed"]


def test_a_placeholder_is_told_once_where_it_was_written(messages: dict[str, str]) -> None:
    message = messages["placeholder"]
    assert message.startswith("One variable must be set or corrected.")
    line = list(HOSTS["placeholder"]).index("team") + 1
    assert f"in host_vars/placeholder.yml:{line}: still" in message


def test_a_sound_text_beside_a_faulty_one_hides_no_other_fault(messages: dict[str, str]) -> None:
    assert "2 variables must be set or corrected" in messages["beside"]
    assert "mnrun_test_files" in messages["beside"]


def test_a_hidden_value_is_not_shown(messages: dict[str, str]) -> None:
    assert "(hidden) contains a line break" in messages["hidden"]
    assert "cret" not in messages["hidden"]


def test_what_another_variable_makes_useless_is_refused_with_all_else(
    messages: dict[str, str],
) -> None:
    message = messages["image-and-conda"]
    assert message.startswith("3 variables must be")
    for name, line in (("environment_conda_prefix", 2), ("environment_conda_spec", 8)):
        place = f"in host_vars/image-and-conda.yml:{line}: has no effect beside environment_image"
        assert f"{name}, {place}" in message
    assert messages["image-alone"] == messages["no-image"] == ""


def test_a_role_that_is_none_is_named(messages: dict[str, str]) -> None:
    assert "enviroment is not a role; there are" in messages["no-role"]
    assert "environment" in messages["no-role"]


@pytest.mark.parametrize(
    ("value", "spec", "found"),
    [
        ("YOU_TEAM", {}, "YOU_TEAM"),
        ("a YOUR_NAME b", {}, "YOUR_NAME"),
        (["ok", "change_me"], {"type": "list"}, "change_me"),
        ("/home/<your name>/x", {}, "<your name>"),
        ("<partition>", {}, "<partition>"),
        ("...", {}, "..."),
        ({"x": {"y": "<your key>"}}, {"type": "dict"}, "<your key>"),
        ({"CHANGEME": 1}, {"type": "dict"}, "CHANGEME"),
    ],
)
def test_placeholders_are_found_wherever_they_are(value: Any, spec: Any, found: str) -> None:
    assert [placeholder for placeholder, _ in placeholders(value, spec)] == [found]


@pytest.mark.parametrize(
    ("value", "spec"),
    [
        ({"stop": ["</s>", "<pad>", "<|eot_id|>"], "fmt": "..."}, {"type": "dict"}),
        ("todo-list", {}),
        ("team-a", {}),
        (3, {"type": "int"}),
        ("a <think> b", {}),
    ],
)
def test_words_that_only_look_like_placeholders_pass(value: Any, spec: Any) -> None:
    assert placeholders(value, spec) == []


@pytest.mark.parametrize(
    ("name", "value", "spec", "faulty"),
    [
        ("sft_dir", "~/a/b-c_d.e=f+g@h", {}, False),
        ("sft_dir", "/data/数学", {}, False),
        ("sft_dir", "/a b", {}, True),
        ("sft_dir", "/a/$HOME", {}, True),
        ("mnrun_train_files", ["/a", "/b'c"], {"type": "list"}, True),
        ("mnrun_train_files", ["/a/*.parquet"], {"type": "list"}, True),
        ("mnrun_nodelist", "osk-gpu[94-95],x[1-2]", {}, False),
        ("sft_job_name", "a\nb", {}, True),
        ("sft_job_name", "a\x1b[0m", {}, True),
        ("mnrun_run_name", "larger-lr_2", {}, False),
        ("mnrun_run_name", "", {}, False),
        ("mnrun_run_name", "../x", {}, True),
        ("mnrun_run_name", "default", {}, True),
        ("x", "/a b", {"type": "path"}, True),
        ("sft_options", {"data.chat_template": "a\n\tb"}, {"type": "dict"}, False),
        ("sft_options", {"a": "b\0"}, {"type": "dict"}, True),
    ],
)
def test_characters_that_break_scripts(name: str, value: Any, spec: Any, *, faulty: bool) -> None:
    assert bool(text_faults(name, value, spec)) is faulty


@pytest.mark.parametrize("name", ["sft_overrides", "ppo_options", "mnrun_sbatch", "sft_sbatch"])
def test_a_secret_in_a_mapping_is_refused_without_being_shown(name: str) -> None:
    secret = "correct horse"  # noqa: S105 - not one
    (fault,) = text_faults(name, {"export": f"WANDB_API_KEY={secret}"}, {"type": "dict"})
    assert fault.startswith("WANDB_API_KEY is a secret by its name")
    assert secret not in fault


def test_variables_of_the_environment_are_judged_where_they_are_written_out() -> None:
    given = {"HF_TOKEN": "correct horse"}
    assert text_faults("environment_variables", given, {"type": "dict"}) == []


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (
            "lora-no-rank",
            ["sft_lora_rank", "0 is too small", "-1 is too small", "1.5 does not fit"],
        ),
        ("lora-no-number", ["'eight' does not fit", "ppo_lora_rank", "true does not fit"]),
        ("lora-nowhere", ["sft_lora_rank is 8, but its", "ppo_lora_alpha has no effect without"]),
        ("algorithm", ["ppo_algorithm is dpo, which the trainer lacks; there are ppo, grpo"]),
    ],
)
def test_what_a_trainer_cannot_have_is_told_before_anything_is_done(
    messages: dict[str, str], host: str, words: list[str]
) -> None:
    assert messages["lora"] == ""
    assert [word for word in words if word not in messages[host]] == [], messages[host]


def test_services_are_checked_with_all_else(messages: dict[str, str]) -> None:
    told = messages["services"]
    for part in (
        "judge: nodes: 1 does not fit: give first, last, each, or places from 0 to 0.",
        "judge: health: health does not fit: give a path",
        "judge: command: --api-key would be visible to others",
        "there are 2 services for MNRUN_SERVICE_JUDGE",
        "services take 1 of the 1 GPUs of each node",
    ):
        assert part in told
    assert told.count("judge: nodes") == 1  # and not once for each stage
    assert "hush" not in told
    told = messages["services-of-a-wrong-type"]
    assert "has no key 'comand'" in told
    assert "did you mean command?" in told
    assert "'many' does not fit" in told


def test_the_options_of_the_run_are_checked_with_the_variables(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "options.yml").write_text(
        "sft:\n  trainer.logger: [console]\n  trainer.name: CHANGEME\n"
    )
    run = {
        **STAGES, "mnrun_run_dir": str(folder), "environment_wandb_entity": "YOU_TEAM",
        "ansible_python_interpreter": sys.executable, "sft_kept": {},
        "mnrun_options": {"ppo": {"trainer.logger": ["console"]}},
        "roles_of_this": ["environment", "sft", "ppo"],
    }  # fmt: skip
    (folder.parent / "bad").mkdir()
    (folder.parent / "bad" / "options.yml").write_text("sft:\n  a: 1\n  a: 2\n")
    bad = {**run, "mnrun_run_dir": str(folder.parent / "bad"), "mnrun_options": {}}
    messages = validate(tmp_path, {"run": run, "bad": bad})
    path = folder / "options.yml"
    assert messages["run"] == (
        "One variable must be set or corrected. Nothing was started.\n"
        f"  1. sft.trainer.name, in {path}: still the placeholder CHANGEME"
    )
    assert f"{folder.parent}/bad/options.yml:3: sft.a is written twice" in messages["bad"]
