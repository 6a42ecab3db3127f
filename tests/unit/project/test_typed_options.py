"""A value of ``-e name=value`` is a text: each use of a boolean or a number makes it one first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
# Of the command line alone: no role has them.
OF_COMMANDS = {"mnrun_prune_confirmed": "bool", "mnrun_gc_end": "bool", "mnrun_logs_follow": "bool"}
_DEFAULT = r"(?:\s*\|\s*default\([^()]*\))?"


@cache
def documented() -> dict[str, str]:
    """The type of each option of the roles, by its name."""
    types = dict(OF_COMMANDS)
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text())["argument_specs"].values():
            options: dict[str, Any] = entry.get("options") or {}
            types |= {name: option.get("type", "str") for name, option in options.items()}
    return types


def uses(text: str, names: list[str]) -> Iterator[tuple[str, str]]:
    """Each line that reads one of the variables, with what follows its name up to the next word."""
    pattern = re.compile(rf"(?<![\w.])({'|'.join(names)})\b(?!['\"]?:)(?!=)")
    for line in text.splitlines():
        if not line.lstrip().startswith("#"):
            for match in pattern.finditer(line):
                yield line.strip(), line[match.end() :]


def untyped(text: str, types: dict[str, str], kind: str, *, alone: bool) -> list[str]:
    """The lines in which a variable is used without being made a `kind`. `alone`: a module that is
    given nothing else than it does so itself."""
    names = [name for name, each in types.items() if each == kind]
    made = re.compile(rf"{_DEFAULT}\s*\|\s*{kind}\b")
    passed = re.compile(rf'[\w-]+: "{{{{ (?:{"|".join(names)}) }}}}"')
    return [
        line
        for line, rest in uses(text, names)
        if not made.match(rest) and not (alone and passed.fullmatch(line))
    ]


def sources() -> list[Path]:
    found = [*ROOT.glob("roles/**/*.yml"), *ROOT.glob("roles/**/*.j2")]
    found += ROOT.glob("playbooks/**/*.yml")
    return sorted(path for path in found if "meta" not in path.parts)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_each_use_of_a_boolean_or_a_number_makes_it_one(path: Path) -> None:
    text, types = path.read_text(), documented()
    assert untyped(text, types, "bool", alone=False) == []
    # The values of ppo_reserved are names, for a message.
    named = [
        line
        for kind in ("int", "float")
        for line in untyped(text, types, kind, alone=True)
        if not re.fullmatch(r"trainer\.\w+: mnrun_\w+|.*-e convert_step=N.*", line)
        and "(ray_cluster_ppo_linger if" not in line  # made one behind the bracket
    ]
    assert named == []


@pytest.mark.parametrize(
    "text",
    [
        "when: ppo_wait",
        "when: not ppo_wait and x",
        'wait: "{{ ppo_wait }}"',
        '{{ {} if ppo_wait else {"a": 1} }}',
        "x: \"{{ ppo_wait | default('false') }}\"",
        "{% if ppo_wait %}",
        "that: a or ppo_wait",
        'ends: "{{ mnrun_gc_end | default(false) and b | bool }}"',
    ],
)
def test_the_scan_finds_what_it_looks_for(text: str) -> None:
    assert untyped(text, documented(), "bool", alone=False) == [text]


def test_the_scan_sees_the_booleans_that_roles_have() -> None:
    kinds = documented().values()
    assert list(kinds).count("bool") > 20
    used = "".join(path.read_text() for path in sources())
    never = {name for name, kind in documented().items() if kind == "bool" and name not in used}
    assert never == set()
