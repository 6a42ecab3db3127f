"""The commands and variables that the documentation shows are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from mnrun.arguments import parse
from mnrun.commands import COMMANDS as COMMAND_TABLE
from mnrun.help import epilog, front_page
from mnrun.variables import read

ROOT = Path(__file__).parents[3]
PAGES = [
    ROOT / "README.md",
    ROOT / "README.ja.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
OPTIONS = {
    name
    for path in ROOT.glob("roles/*/meta/argument_specs.yml")
    for spec in yaml.safe_load(path.read_text())["argument_specs"].values()
    for name in spec.get("options") or {}
}


def shown(page: Path) -> list[str]:
    """The commands of mnrun in a page's blocks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("mnrun ")]


COMMANDS = [(page.name, line) for page in PAGES for line in shown(page)]


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_a_command_that_is_shown_is_understood(page: str, line: str) -> None:
    options = parse(shlex.split(line, comments=True)[1:])
    assert {name for value in options.extra_vars for name in read(value)} <= OPTIONS


def test_every_page_with_commands_is_read() -> None:
    assert {page for page, _ in COMMANDS} >= {"README.md", "README.ja.md", "sandbox.md"}


def test_the_examples_of_the_help_are_understood(capsys: pytest.CaptureFixture[str]) -> None:
    texts = [front_page(), *(epilog(name) for name in COMMAND_TABLE)]
    behind = "".join(text.partition("examples:")[2].partition("\n\n")[0] for text in texts)
    examples = re.findall(r"^  mnrun (.*?)(?:  |$)", behind, re.MULTILINE)
    assert len(examples) > 20
    for example in examples:
        words = shlex.split(example.partition(" | ")[0])
        if words[0] == "help":
            with pytest.raises(SystemExit):
                parse(words)
            assert "usage: mnrun" in capsys.readouterr().out
        else:
            parse(words)


def test_both_readmes_show_the_same_commands() -> None:
    english, japanese = (
        [line.partition("  #")[0].strip() for line in shown(page)] for page in PAGES[:2]
    )
    assert english == japanese


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


LINKS = [
    (page, target)
    for page in sorted({*PAGES, *ROOT.glob("*.md")})
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    if "://" not in target
]


@pytest.mark.parametrize(
    ("page", "target"), LINKS, ids=lambda value: str(getattr(value, "name", value))
)
def test_a_link_leads_somewhere(page: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    linked = page.parent / path if path else page
    assert linked.exists()
    assert not anchor or anchor in anchors(linked)
