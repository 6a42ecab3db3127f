"""What roles and playbooks may read of each other: one published variable for each role."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
PUBLISHED = {
    "environment": "environment_result",
    "preflight": "preflight_result",
    "fetch": "fetch_result",
    "sft": "sft_stage",
    "ray_cluster": "ray_cluster_stage",
    "ppo": "ppo_stage",
    "convert": "convert_stage",
    "publish": "publish_result",
}
# Who reads of whom: those to the right run earlier in a play, or beside it.
READS = {
    "environment": "",
    "preflight": "environment",
    "fetch": "environment",
    "sft": "environment preflight",
    "ray_cluster": "environment",
    "convert": "environment preflight",
    "ppo": "environment preflight sft convert ray_cluster",
    "publish": "environment convert",
}
# Switches that a playbook itself obeys.
OF_PLAYBOOKS = {"publish_enabled"}


def code(text: str) -> str:
    """A file without its comments."""
    return re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)


def foreign(text: str, owner: str) -> set[str]:
    """The variables of other roles that a text reads; those it only sets are not among them."""
    names: set[str] = set()
    for role in PUBLISHED:
        if role != owner:
            read = re.findall(rf"(?<![\w.])(?<!\\\"){role}_\w+\b(?!:)", code(text))
            names |= {name for name in read if not _of_longer(name, role)}
    return names


def _of_longer(name: str, role: str) -> bool:
    return any(len(other) > len(role) and name.startswith(f"{other}_") for other in PUBLISHED)


def texts(role: str) -> Iterator[tuple[Path, str]]:
    for path in sorted((ROOT / "roles" / role).rglob("*")):
        if path.suffix in {".yml", ".j2"} and "meta" not in path.parts:
            yield path, path.read_text()


@pytest.mark.parametrize("role", PUBLISHED)
def test_a_role_reads_only_what_others_publish(role: str) -> None:
    allowed = {PUBLISHED[other] for other in READS[role].split()}
    for path, text in texts(role):
        assert foreign(text, role) <= allowed, path


def test_no_two_roles_read_of_each_other() -> None:
    done: list[str] = []
    while len(done) < len(READS):
        ready = [role for role in READS if role not in done and set(READS[role].split()) <= {*done}]
        assert ready, f"a circle among {set(READS) - set(done)}"
        done += ready


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("playbooks/**/*.yml")), ids=lambda path: path.stem
)
def test_a_playbook_reads_only_what_roles_publish(path: Path) -> None:
    assert foreign(path.read_text(), "") <= {*PUBLISHED.values(), *OF_PLAYBOOKS}
    assert not re.search(r"(?<!_)when: false", path.read_text())


@pytest.mark.parametrize("role", PUBLISHED)
def test_a_role_publishes_a_dict_and_says_so(role: str) -> None:
    variables: dict[str, Any] = yaml.safe_load(
        (ROOT / "roles" / role / "vars/main.yml").read_text()
    )
    assert isinstance(variables[PUBLISHED[role]], dict)
    specs = (ROOT / "roles" / role / "meta/argument_specs.yml").read_text()
    assert f"Publishes C({PUBLISHED[role]})" in specs
    # A task that registered this name would hide the dict from then on.
    assert not re.search(rf"(register|set_fact): {PUBLISHED[role]}\b", "".join(
        text for _path, text in texts(role)))  # fmt: skip
    read = "".join(text for other in PUBLISHED for _path, text in texts(other) if other != role)
    read += "".join(path.read_text() for path in ROOT.glob("playbooks/**/*.yml"))
    for entry in re.findall(rf"(?<![\w.]){PUBLISHED[role]}\.(\w+)", read):
        assert entry in variables[PUBLISHED[role]]


@pytest.mark.parametrize("role", ["sft", "ppo"])
def test_what_is_settled_once_comes_from_the_options_and_from_nothing_settled(role: str) -> None:
    """A fact outlives its play: made of itself or of another one, it would be an earlier play's."""
    variables = yaml.safe_load((ROOT / "roles" / role / "vars/main.yml").read_text())
    (task,) = yaml.safe_load((ROOT / "roles" / role / "tasks/settle.yml").read_text())
    settled = task["ansible.builtin.set_fact"]
    assert settled == {name: f"{{{{ _{name} }}}}" for name in settled}
    assert {name: variables[name] for name in settled} == settled
    assert {f"_{name}" for name in settled} == {name for name in variables if name[0] == "_"}
    for name in settled:
        assert not _read_by(f"_{name}", variables) & set(settled)


def _read_by(name: str, variables: dict[str, Any]) -> set[str]:
    """The variables that one of a role's own stands on, directly or not."""
    read = set(re.findall(r"\b_?[a-z]+_\w+", str(variables[name]))) & set(variables) - {name}
    return read.union(*(_read_by(other, variables) for other in read))


CHECKING = [path for path in ROOT.glob("playbooks/*.yml") if "train.validate" in path.read_text()]


@pytest.mark.parametrize("path", sorted(CHECKING), ids=lambda path: path.stem)
def test_a_role_whose_variables_a_playbook_has_checked_does_not_check_them_again(
    path: Path,
) -> None:
    (play,) = yaml.safe_load(path.read_text())
    checked = play["tasks"][0]["mnrun.train.validate"]["roles"]
    assert "roles" not in play  # they would
    for task in play["tasks"]:
        asked = task.get("ansible.builtin.import_role") or task.get("ansible.builtin.include_role")
        if asked and "tasks_from" not in asked:
            assert asked["rolespec_validate"] is False
            assert asked["name"].removeprefix("mnrun.train.") in checked


def roles_of(path: Path) -> tuple[set[str], set[str]]:
    """The roles whose variables a playbook has, and those that it runs."""
    has, runs = set(), set()
    for play in yaml.safe_load(path.read_text()):
        for task in [*play.get("pre_tasks", []), *play.get("tasks", [])]:
            imported = task.get("ansible.builtin.import_role")
            asked = imported or task.get("ansible.builtin.include_role")
            if asked:
                role = asked["name"].removeprefix("mnrun.train.")
                has |= {role} if imported else set()
                runs |= set() if "tasks_from" in asked else {role}
    return has, runs


@pytest.mark.parametrize("path", sorted(ROOT.glob("playbooks/*.yml")), ids=lambda path: path.stem)
def test_a_playbook_has_the_variables_of_each_role_that_it_or_its_roles_read_of(
    path: Path,
) -> None:
    """An import gives them to the whole play, an include to nothing but itself."""
    text = path.read_text()
    for tasks in re.findall(r"include_tasks: (\S+)", text):
        text += (path.parent / tasks).read_text()
    has, runs = roles_of(path)
    published = {name: role for role, name in PUBLISHED.items()}
    read = {published[name] for name in foreign(text, "") & set(published)}
    assert read.union(*(READS.get(role, "").split() for role in runs)) <= has


def test_a_playbook_that_reads_a_stage_settles_it_first() -> None:
    """Otherwise it would read the facts of an earlier play with other options."""
    for path in sorted(ROOT.glob("playbooks/*.yml")):
        for stage in ("sft", "ppo"):
            tasks = re.findall(rf"train\.{stage}, (?:tasks_from: )?(\w+)", path.read_text())
            if f"{stage}_stage" in path.read_text():
                assert tasks[0] == "settle", path


def test_no_order_is_left_to_chance() -> None:
    """Ansible's filters of sets give another order in each process, as they go through `set`."""
    of_sets = re.compile(
        r"\|\s*(?:union|difference|intersect|symmetric_difference)\b(?!.*\|\s*sort)"
    )
    files = [
        path
        for room in ("roles", "playbooks", "profiles", "inventory")
        for path in (ROOT / room).rglob("*")
        if path.suffix in {".yml", ".yaml", ".j2"}
    ]
    assert files
    assert [str(path) for path in files if of_sets.search(code(path.read_text()))] == []
