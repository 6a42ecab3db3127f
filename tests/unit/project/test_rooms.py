"""The rooms of plugins/module_utils: who may import whom, and what the controller reaches."""

from __future__ import annotations

import ast
import re
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
    "handover": "base record",
    "hub": "base",
    "sandbox": "base",
    "trainer": "base model record environment",
    "result": "base model record trainer",
    "notify": "base record trainer",
    # The engine knows neither Slurm nor Ray.
    "stage": "base record trainer result",
    "slurm": "base record result",
    "ray": "base record trainer result slurm stage",
    "site": "base result slurm",
    "runs": "base handover record trainer result stage slurm ray",
    "preflight": "base model trainer result slurm",
}
# What runs on the user's machine talks to modules, never to Slurm or Ray.
NOT_ON_THE_CONTROLLER = {"slurm", "ray", "runs", "preflight", "site"}


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


# What only the trainer's room and the profiles know.
TRAINERS_WORDS = re.compile(
    r"\bverl\b|global_step_|\bstep:(?:\d|\[)|hydra|fsdp|latest_checkpointed|ckpt_to_keep|save_freq"
    r"|gpu_memory_utilization|critic/score",
    re.IGNORECASE,
)
CONVERTS = "the converter verl-merger, and the reward that scores its models"
MAY_KNOW_THE_TRAINER = {
    "mnrun/hydra_value.py": "the grammar in which all options are written on the command line",
    "mnrun/named_options.py": "likewise",
    "plugins/filter/hydra_overrides.py": "a public filter for verl's options, in hydra's grammar",
    "plugins/modules/activation.py": "the documentation says what the environment holds",
    "plugins/modules/preflight.py": "an example, and the documentation of what must be there",
    "plugins/plugin_utils/hydra.py": "the grammar of hydra, one of the syntaxes of options",
    "plugins/plugin_utils/option_syntax.py": "chooses hydra by its name in a profile",
    "plugins/plugin_utils/profiles.py": "the default profile has a name",
    "plugins/modules/ray_job.py": "an example trains with verl",
    "plugins/modules/slurm_job.py": "a sample result is one of verl",
    "plugins/plugin_utils/option_faults.py": "a comment says what cannot carry such a path",
    "roles/convert/defaults/main.yml": CONVERTS,
    "roles/convert/files/convert.py": CONVERTS,
    "roles/convert/files/convert_check.py": CONVERTS,
    "roles/convert/files/convert_merge.py": CONVERTS,
    "roles/convert/files/convert_score.py": CONVERTS,
    "roles/convert/meta/argument_specs.yml": CONVERTS,
    "roles/convert/vars/main.yml": CONVERTS,
    "roles/environment/defaults/main.yml": "the documentation says what the environment holds",
    "roles/environment/meta/argument_specs.yml": "likewise",
    "roles/fetch/defaults/main.yml": "GSM8K is written in a form that some trainers read",
    "roles/fetch/files/gsm8k.py": "likewise",
    "roles/fetch/meta/argument_specs.yml": "likewise",
    "roles/publish/templates/card.md.j2": "the card names what trained the model",
    "roles/ray_cluster/defaults/main.yml": "the name of its job, by which running ones are found",
    "roles/ray_cluster/files/cluster_node.py": "a comment on a variable that one of them reads",
    "roles/ray_cluster/meta/argument_specs.yml": "the name of its job",
    "roles/ray_cluster/vars/main.yml": "a comment says why a worker gets that many CPUs",
}


def outside_the_trainers_room() -> Iterator[Path]:
    for folder, kind in (
        ("plugins", "*.py"), ("mnrun", "*.py"), ("playbooks", "*.yml"), ("roles", "*.yml"),
        ("roles", "*.j2"), ("roles", "*.py"),
    ):  # fmt: skip
        for path in (PLUGINS.parent / folder).rglob(kind):
            # The sandbox makes the trainer run without a GPU.
            aside = (ROOMS / "trainer", PLUGINS.parent / "roles/sandbox")
            if not set(aside) & set(path.parents):
                yield path


def test_only_the_trainers_room_knows_verls_words() -> None:
    knowing = {
        str(path.relative_to(PLUGINS.parent))
        for path in outside_the_trainers_room()
        if TRAINERS_WORDS.search(path.read_text())
    }
    assert knowing == set(MAY_KNOW_THE_TRAINER)
