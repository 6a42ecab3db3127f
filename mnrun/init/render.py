"""The text of an inventory, from choices."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml

from mnrun.init.choice import Choice

TEMPLATES = Path(__file__).parent / "templates"
_WIDTH = 110
_PLAIN = re.compile(r"[^\x20-\x7e\u00a0-\uffff]|[\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff]")


def variables_text(choices: Mapping[str, Choice], about: Mapping[str, str]) -> str:
    """Return group_vars/all.yml.

    Args:
        choices: by their names.
        about: for the heading: `cluster`, `slurm`, `date`.
    """
    ranks = choices["mnrun_nodes"].value * choices["mnrun_gpus_per_node"].value
    return (
        _environment()
        .get_template("all.yml.j2")
        .render(
            c=choices,
            about={name: _comment(text) for name, text in about.items()},
            packages=choices["packages"].value,
            ranks=max(1, ranks),
            **_batches(max(1, ranks)),
        )
    )


def hosts_text(name: str, variables: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    """Return hosts.yml.

    Args:
        name: of the login node in the inventory.
        variables: how it is reached.
        comments: of some of them, by their names.
    """
    template = _environment().get_template("hosts.yml.j2")
    return template.render(name=name, variables=variables, comments=comments)


def _batches(ranks: int) -> dict[str, int]:
    """Return batch sizes near those that are usual, which `ranks` GPUs can share out."""
    mini = ranks * 4 * max(1, round(64 / (ranks * 4)))
    return {"sft_batch": ranks * 8 * max(1, round(256 / (ranks * 8))), "mini_batch": mini}


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(  # noqa: S701 - YAML, not HTML
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"value": _value, "why": _why, "block": _block}
    return environment


def _value(value: Any) -> str:
    """Return a value as YAML in one line, which Ansible takes as it is."""
    if isinstance(value, str) and ("{{" in value or "{%" in value):
        return f"!unsafe {json.dumps(value)}"
    if isinstance(value, list):
        return f"[{', '.join(_in_flow(one) for one in value)}]"
    return _dumped(value)


def _in_flow(value: Any) -> str:
    """Return an entry of a list in one line: more is quoted there than outside of brackets."""
    text = _value(value)
    return text if text.startswith("!unsafe") else _dumped([value])[1:-1]


def _dumped(value: Any) -> str:
    text = yaml.safe_dump(
        value, default_flow_style=True, width=10_000, sort_keys=False, allow_unicode=True
    )
    return text.removesuffix("\n").removesuffix("\n...")


def _block(value: Mapping[str, Any]) -> str:
    """Return a mapping as YAML behind a name and a colon: a line for each entry."""
    if not value:
        return " {}"
    return "".join(f"\n  {_value(name)}: {_value(one)}" for name, one in value.items())


def _comment(text: str) -> str:
    """Return a text as one line without anything that would end a comment."""
    return " ".join(_PLAIN.sub(" ", text).split())


def _why(choice: Choice) -> str:
    """Return where a value comes from, as comments."""
    lines = textwrap.wrap(_comment(choice.why), _WIDTH, break_on_hyphens=False)
    return "\n".join(f"# {line}" for line in lines)
