"""docs/development.md is a map: what it names is there, and where it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.mnrun.train.plugins.module_utils.stage.cause import Cause

from mnrun.commands import COMMANDS

ROOT = Path(__file__).parents[3]
ROOMS = ROOT / "plugins" / "module_utils"
PAGES = [ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
MAP = (ROOT / "docs" / "development.md").read_text()


def rows(first: str) -> list[list[str]]:
    """The rows of the table whose first column is called so, as cells."""
    table = re.search(rf"^\| {first} \|.*\n\|[-|]+\n((?:\|.*\n)+)", MAP, re.MULTILINE)
    assert table
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in table[1].splitlines()]


def ticked(cell: str) -> list[str]:
    """What stands in backquotes."""
    return re.findall(r"`([^`]+)`", cell)


# In capitals: what a reader fills in.
PATH = (
    r"(?!.*(?:NAME|ROOM))"
    r"(?:[a-z_]+/[\w/.*-]+\.(?:py|yml|j2|md)|(?:mnrun|plugins|roles|tests)/[\w/.]+)"
)
PLACES = (ROOT, ROOMS, ROOT / "roles" / "sft")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_path_that_is_named_is_there(page: Path) -> None:
    named = [name for name in ticked(page.read_text()) if re.fullmatch(PATH, name)]
    assert [name for name in named if not any(list(place.glob(name)) for place in PLACES)] == []


@pytest.mark.parametrize("row", rows("command"), ids=lambda row: row[0])
def test_a_command_leads_to_its_playbook_roles_and_modules(row: list[str]) -> None:
    command, playbook, roles, modules = (ticked(cell) for cell in row[:4])
    assert playbook == [f"playbooks/{COMMANDS[command[0].removeprefix('mnrun ')].playbook}.yml"]
    needs = [
        path.read_text() for role in roles for path in ROOT.glob(f"roles/{role}/meta/main.yml")
    ]
    plays = "".join([(ROOT / playbook[0]).read_text(), *needs])
    assert all(f"mnrun.train.{role}" in plays for role in roles)
    tasks = [
        path.read_text() for role in roles for path in (ROOT / "roles" / role).rglob("tasks/*")
    ]
    assert all(f"mnrun.train.{module}:" in "".join(tasks) for module in modules)


@pytest.mark.parametrize("row", rows("command on a run"), ids=lambda row: row[0])
def test_a_command_on_a_run_leads_to_its_playbook_and_module(row: list[str]) -> None:
    command, playbook, modules = (ticked(cell) for cell in row[:3])
    assert playbook == [f"playbooks/{COMMANDS[command[0].removeprefix('mnrun ')].playbook}.yml"]
    places = [ROOT / playbook[0], *ROOT.glob("playbooks/tasks/*")]
    places += [path for role in modules for path in (ROOT / "roles" / role).glob("tasks/*")]
    tasks = "".join(path.read_text() for path in places)
    names = [name for name in modules if (ROOT / "plugins" / "modules" / f"{name}.py").exists()]
    assert names
    assert [name for name in names if f"mnrun.train.{name}:" not in tasks] == []


def test_the_map_has_every_command() -> None:
    named = {ticked(row[0])[0] for first in ("command", "command on a run") for row in rows(first)}
    own = {f"mnrun {name}" for name in COMMANDS if not name.startswith("sandbox")}
    assert named == own - {"mnrun all"}


@pytest.mark.parametrize("row", rows("module"), ids=lambda row: row[0])
def test_a_module_imports_where_its_logic_begins(row: list[str]) -> None:
    begins = [Path(place) for place in ticked(row[1]) if (ROOMS / place).exists()]
    assert begins
    either = "|".join(rf"{one.parent}(\.{one.stem} import| import {one.stem}\b)" for one in begins)
    for module in ticked(row[0]):
        text = (ROOT / "plugins" / "modules" / f"{module}.py").read_text()
        assert re.search(rf"module_utils\.({either})", text), module


def test_every_room_is_on_the_map() -> None:
    rooms = {path.name for path in ROOMS.iterdir() if path.name != "__pycache__"}
    assert {ticked(row[0])[0] for row in rows("room")} == rooms


def test_every_cause_has_a_row_in_the_documentation() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text().partition("## Causes")[2]
    table = "".join(re.findall(r"^\| (`[^|]+)\|", text.partition("\n## ")[0], re.MULTILINE))
    assert sorted(ticked(table)) == sorted(cause.value[0] for cause in Cause)
