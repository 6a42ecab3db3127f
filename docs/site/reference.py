"""The pages of the reference: all variables of the roles, all modules."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible_text import choices, default, kind, markdown
from places import ROOT

ROLES = (
    "environment",
    "fetch",
    "preflight",
    "sft",
    "ray_cluster",
    "ppo",
    "convert",
    "publish",
    "relay",
)
"""In the order in which a user meets them; the others follow."""
_VARIABLES = (
    "Made from the `argument_specs` of the roles. A site sets them in its inventory, one command "
    "with `-e NAME=VALUE`. `ansible-doc -t role mnrun.train.sft` shows the same."
)
_MODULES = (
    "Of the collection `mnrun.train`, for playbooks of your own. "
    "`ansible-doc mnrun.train.slurm_job` shows the same."
)
_HEAD = "| name | type | default | |\n|---|---|---|---|"


def variables() -> str:
    """Return the page of all variables, from the roles' argument_specs."""
    specs = {path.parts[-3]: _options(path) for path in _specs()}
    everything = {name: option for options in specs.values() for name, option in options.items()}
    others = sorted(set(specs) - {*ROLES, "sandbox"})
    lines = [
        "# All variables",
        "",
        _VARIABLES,
        *_section("Of a whole site", "mnrun", everything),
    ]
    for role in (*ROLES, *others, "sandbox"):
        lines += _section(role, role, specs.get(role, {}))
    return "\n".join(lines) + "\n"


def modules() -> str:
    """Return the page of all modules, from their DOCUMENTATION, EXAMPLES and RETURN."""
    lines = [
        "# Modules",
        "",
        _MODULES,
    ]
    for path in sorted((ROOT / "plugins/modules").glob("*.py")):
        lines += ["", *_module(path)]
    return "\n".join(lines) + "\n"


def _section(title: str, prefix: str, options: Mapping[str, Any]) -> list[str]:
    """Return a heading and a table of the variables that begin so; nothing if there are none."""
    own = {name: option for name, option in options.items() if name.startswith(f"{prefix}_")}
    rows = list(_rows(dict(sorted(own.items()))))
    return ["", f"## {title}", "", _HEAD, *rows] if rows else []


def _module(path: Path) -> Iterator[str]:
    texts = _texts(path)
    about = yaml.safe_load(texts["DOCUMENTATION"])
    yield f"## {path.stem}"
    yield ""
    yield f"{markdown(about['short_description'])}."
    yield ""
    for sentence in _listed(about.get("description", [])):
        yield f"- {markdown(sentence)}"
    options = _with_fragments(about)
    if options:
        yield from ("", "**Options**", "", _HEAD)
        yield from _rows(options)
    returned = yaml.safe_load(texts.get("RETURN", "")) or {}
    if returned:
        yield from ("", "**Returns**", "", "| name | type | |\n|---|---|---|")
        for name, value in returned.items():
            yield f"| `{name}` | {kind(value)} | {markdown(value['description'])} |"
    if texts.get("EXAMPLES", "").strip():
        yield from ("", "**Examples**", "", "```yaml", texts["EXAMPLES"].strip(), "```")


def _with_fragments(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return a module's options, with those of the fragments that it names."""
    options = dict(about.get("options") or {})
    for name in _listed(about.get("extends_documentation_fragment", [])):
        file, _, part = name.removeprefix("mnrun.train.").partition(".")
        path = ROOT / "plugins/doc_fragments" / f"{file}.py"
        if path.is_file():
            shared = yaml.safe_load(_texts(path)[part.upper() or "DOCUMENTATION"])
            options |= shared.get("options") or {}
    return dict(sorted(options.items()))


def _rows(options: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, option in options.items():
        text = markdown(option.get("description", "")) + choices(option)
        yield f"| `{prefix}{name}` | {kind(option)} | {default(option)} | {text} |"
        inner = option.get("suboptions") or option.get("options") or {}
        yield from _rows(inner, f"{prefix}{name}.")


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _specs() -> list[Path]:
    return sorted(ROOT.glob("roles/*/meta/argument_specs.yml"))


@cache
def _options(path: Path) -> dict[str, Any]:
    entries = yaml.safe_load(path.read_text())["argument_specs"].values()
    return {
        name: option for entry in entries for name, option in (entry.get("options") or {}).items()
    }


def _texts(path: Path) -> dict[str, str]:
    """Return the texts that a plugin assigns to names, without importing it."""
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found[target.id] = str(node.value.value)
    return found
