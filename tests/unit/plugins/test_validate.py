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
        roles: [{roles}]
"""
GOOD = {
    "mnrun_run_dir": "~/training/multinode",
    "environment_conda_prefix": "~/conda_env",
    "environment_modules": ["nccl/2.22.3"],
    "environment_wandb_project": "{{ team }}-project",
    "team": "blue",
}


def validate(
    tmp_path: Path, variables: dict[str, Any], *more: str, roles: str = "environment"
) -> str:
    """Run the action over an inventory of `variables`; its message, or "" if all is well."""
    folder = tmp_path / "group_vars"
    folder.mkdir(exist_ok=True)
    lines = [f"{name}: {json.dumps(value)}\n" for name, value in variables.items()]
    (folder / "all.yml").write_text("".join(lines))
    (tmp_path / "hosts").write_text("here ansible_connection=local\n")
    (tmp_path / "ansible.cfg").touch()
    (tmp_path / "play.yml").write_text(PLAY.format(roles=roles))
    playbook = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [playbook, "-i", "hosts", "play.yml", *more],
        cwd=tmp_path,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
            "ANSIBLE_HOME": str(tmp_path / "home"),
            "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "changed=0" in done.stdout, done.stdout + done.stderr
    assert "[DEPRECATION WARNING]" not in done.stderr, done.stderr
    failed = re.search(r"^fatal: \[here\]: FAILED! => (.*)$", done.stdout, re.MULTILINE)
    assert bool(done.returncode) == bool(failed)
    return str(json.loads(failed.group(1))["msg"]) if failed else ""


def test_good_variables_pass(tmp_path: Path) -> None:
    results = {"environment_result": {}, "_environment_x": 1, "__sft_y": 2, "environ": 3}
    results["environment_sbatch"] = "{{ preflight_result.rows }}"  # not known before its task
    assert validate(tmp_path, {**GOOD, **results}) == ""


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
    message = validate(tmp_path, bad, "-e", "environment_wait_timeout=soon")
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
            assert f"in group_vars/all.yml:{names.index(name) + 1}" in line
    assert lines[0] == "11 variables must be set or corrected. Nothing was started."
    assert len(lines) == 12


def test_a_variable_whose_prefix_is_mistyped_is_not_passed_over(tmp_path: Path) -> None:
    wrong = {"enviroment_variables": {}, "Environment_Modules": [], "mnrum_run_dir": "/x"}
    own = {"team_partition": "a", "my_environment": "b", "run_dir": "/x", "variables": {}}
    message = validate(tmp_path, {**GOOD, **wrong, **own})
    assert message.startswith("3 variables must be")
    for name, meant in zip(wrong, ("variables", "modules", "run_dir"), strict=True):
        line = next(line for line in message.splitlines() if name in line)
        assert line.endswith(f"{meant}?")


def test_a_mapping_that_is_given_twice_is_not_dropped(tmp_path: Path) -> None:
    first, second = (f'{{"environment_variables": {{"{name}": "1"}}}}' for name in "AB")
    (tmp_path / "more.yml").write_text("environment_variables: {C: '1'}\n")
    both = validate(tmp_path, GOOD, "-e", first, "-e", second, "-e", "x=1", "-e", "x=2")
    assert "environment_variables: given 2 times with -e" in both
    assert "environment_variables" in validate(tmp_path, GOOD, "-e", "@more.yml", "-e", second)
    assert validate(tmp_path, GOOD, "-e", first, "-e", '{"environment_limits": {}}') == ""


@pytest.mark.parametrize(
    "without",
    [
        {"environment_wandb_mode": "disabled"},
        {
            "sft_options": {"trainer.logger": ["console"]},
            "ppo_overrides": {"trainer.logger": "console"},
        },
    ],
)
def test_the_names_of_wandb_are_not_demanded_without_it(
    tmp_path: Path, without: dict[str, Any]
) -> None:
    left = {**GOOD, "environment_wandb_entity": "YOU_TEAM", "environment_wandb_project": "CHANGEME"}
    assert "2 variables must be set" in validate(tmp_path, left)
    assert validate(tmp_path, {**left, **without}) == ""


def test_an_option_of_a_role_that_was_renamed_is_refused_with_its_name_of_today(
    tmp_path: Path,
) -> None:
    message = validate(tmp_path, {**GOOD, "data_check_fetch": True})
    assert "data_check_fetch: is now called preflight_fetch" in message


def test_a_placeholder_is_told_once_where_it_was_written(tmp_path: Path) -> None:
    variables = {
        **GOOD,
        "team": "YOU_TEAM",
        "environment_wandb_project": "project",
        "environment_sbatch": {"partition": "{{ team }}"},
        "environment_wandb_entity": "{{ team }}",
    }
    message = validate(tmp_path, variables)
    assert message.startswith("One variable must be set or corrected.")
    assert f"in group_vars/all.yml:{list(variables).index('team') + 1}: still" in message


def test_a_sound_text_beside_a_faulty_one_hides_no_other_fault(tmp_path: Path) -> None:
    faulty = {"environment_modules": ["a\nb", ""], "mnrun_test_files": ["~/data/my test"]}
    given = {**GOOD, **faulty, "mnrun_model": "~/m", "mnrun_train_files": ["~/data/train"]}
    said = validate(tmp_path, given, roles="environment, preflight")
    assert "2 variables must be set or corrected" in said
    assert "mnrun_test_files" in said


def test_a_hidden_value_is_not_shown(tmp_path: Path) -> None:
    message = validate(tmp_path, {**GOOD, "environment_wandb_key": "se\ncret"})
    assert "(hidden) contains a line break" in message
    assert "cret" not in message


def test_a_role_that_is_none_is_named(tmp_path: Path) -> None:
    message = validate(tmp_path, GOOD, roles="enviroment")
    assert "enviroment is not a role; there are" in message
    assert "environment" in message


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
