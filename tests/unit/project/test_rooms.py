"""The rooms of plugins/module_utils: who may import whom, and what the controller reaches."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[3] / "plugins"
ROOMS = PLUGINS / "module_utils"
MAY_IMPORT = {
    "base": "",
    "model": "base",
    "record": "base",
    "environment": "base",
    "hub": "base",
    "sandbox": "base",
    "trainer": "base model record",
    "result": "base model record trainer",
    # The engine knows neither Slurm nor Ray.
    "stage": "base record trainer result",
    "slurm": "base record result",
    "ray": "base record trainer result slurm stage",
    "preflight": "base model trainer slurm",
    "runs": "base record trainer result stage slurm ray",
}
# What runs on the user's machine talks to modules, never to Slurm or Ray.
NOT_ON_THE_CONTROLLER = {"slurm", "ray", "runs", "preflight"}


def imported(path: Path) -> Iterator[tuple[str, ...]]:
    """The modules of plugins/ that a file of plugins/ imports, as their parts below plugins/."""
    here = path.relative_to(PLUGINS).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            parts = (*here[: len(here) - node.level + 1], *(node.module or "").split("."))
            named = tuple(part for part in parts if part)
            # `from . import cause` names a module, `from .cause import Cause` stands in one.
            for name in node.names:
                inner = PLUGINS.joinpath(*named, f"{name.name}.py")
                yield (*named, name.name) if inner.is_file() else named


def test_every_room_is_in_the_table_and_says_what_lives_in_it() -> None:
    rooms = {path.name for path in ROOMS.iterdir() if path.name != "__pycache__"}
    assert rooms == set(MAY_IMPORT)
    for room in rooms:
        (docstring,) = ast.parse((ROOMS / room / "__init__.py").read_text()).body
        assert isinstance(docstring, ast.Expr), room


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_the_rooms_it_may(room: str) -> None:
    allowed = {room, *MAY_IMPORT[room].split()}
    for path in (ROOMS / room).glob("*.py"):
        for _module_utils, other, *_file in imported(path):
            assert other in allowed, f"{path.relative_to(ROOMS)} imports {other}"


def test_the_table_has_no_circle() -> None:
    open_rooms = {room: set(others.split()) for room, others in MAY_IMPORT.items()}
    while open_rooms:
        ground = {room for room, others in open_rooms.items() if not others & set(open_rooms)}
        assert ground, f"these import each other in a circle: {sorted(open_rooms)}"
        for room in ground:
            del open_rooms[room]


def reached(path: Path, seen: set[Path]) -> set[str]:
    """The rooms that a file comes to, directly or through others."""
    rooms: set[str] = set()
    for parts in imported(path):
        target = PLUGINS.joinpath(*parts).with_suffix(".py")
        if target.is_file() and target not in seen:
            seen.add(target)
            rooms |= reached(target, seen) | ({parts[1]} if parts[0] == "module_utils" else set())
    return rooms


@pytest.mark.parametrize("folder", ["action", "connection", "filter", "plugin_utils"])
def test_the_controller_does_not_reach_slurm_or_ray(folder: str) -> None:
    for path in (PLUGINS / folder).glob("*.py"):
        assert reached(path, set()) & NOT_ON_THE_CONTROLLER == set(), path.name
