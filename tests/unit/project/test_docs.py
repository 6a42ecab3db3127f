"""The commands and variables that the documentation shows are there."""

from __future__ import annotations

import argparse
import re
import shlex
import textwrap
from pathlib import Path

import pytest
import yaml
from ansible import context
from ansible.cli.playbook import PlaybookCLI
from github import slug

from mnrun.arguments import help_text, parse
from mnrun.commands import ALIASES, GROUPS
from mnrun.commands import COMMANDS as TABLE
from mnrun.help import epilog, front_page
from mnrun.init.target import target
from mnrun.variables import read

ROOT = Path(__file__).parents[3]
OTHERS = {"help", "completion"}
OF_A_ROLE = re.compile(
    f"({'|'.join(sorted(path.name for path in (ROOT / 'roles').iterdir()))}|mnrun)_"
)
INTERNALS = {"architecture.md", "conventions.md", "development.md"}
"""Pages about the code, whose names are not those of a user's variables."""
KNOWN = {"publish_manifest"}
"""What a template of the user's own gets."""
JAPANESE = sorted((ROOT / "docs/ja").glob("*.md"))
PAGES = [
    ROOT / "README.md",
    ROOT / "README.ja.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *JAPANESE,
]
OPTIONS = {
    name
    for path in ROOT.glob("roles/*/meta/argument_specs.yml")
    for spec in yaml.safe_load(path.read_text())["argument_specs"].values()
    for name in spec.get("options") or {}
}


def blocks(page: Path, language: str = r"\w*") -> list[str]:
    """What stands in a page's blocks, also in those inside of a list."""
    fenced = rf"^( *)```{language}\n(.*?)^\1```"
    found = re.findall(fenced, page.read_text(), re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(text) for _, text in found]


def lines(page: Path, program: str) -> list[str]:
    """The commands of a program in a page's blocks."""
    every = [line.removeprefix("$ ") for block in blocks(page) for line in block.splitlines()]
    return [line for line in every if line.startswith(f"{program} ")]


def in_text(page: Path) -> list[str]:
    """The commands of mnrun between the words of a page; in capitals: what a reader fills in."""
    outside = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`(mnrun [^`…\\\[]+)`", outside)


COMMANDS = [(page, line) for page in PAGES for line in lines(page, "mnrun")]
PLAYBOOKS = [(page, line) for page in PAGES for line in lines(page, "ansible-playbook")]


def name(page: Path) -> str:
    """A page's path in the repository."""
    return str(page.relative_to(ROOT))


def understood(words: list[str]) -> argparse.Namespace:
    """What the command line makes of it."""
    if words[0] not in {"--help", "--version", *OTHERS}:
        return parse(words)
    with pytest.raises(SystemExit) as end:
        parse(words)
    assert not end.value.code
    return argparse.Namespace(extra_vars=[])


@pytest.mark.parametrize(("page", "line"), [(name(page), line) for page, line in COMMANDS])
def test_a_command_that_is_shown_is_understood(page: str, line: str) -> None:
    options = understood(shlex.split(line, comments=True)[1:])
    given = {one for value in options.extra_vars for one in read(value)}
    assert {one for one in given if not one.startswith("ansible_")} <= OPTIONS


def test_every_page_with_commands_is_read() -> None:
    wanted = {"README.md", "README.ja.md", "docs/sandbox.md", "docs/ja/tutorial.md"}
    assert {name(page) for page, _ in COMMANDS} >= wanted
    assert all(in_text(page) for page in PAGES[:2])


def test_a_command_in_the_text_is_understood() -> None:
    """Of one that is only named, or has something to fill in (STAGE), the name counts."""
    every = {line for page in PAGES for line in in_text(page)}
    assert len(every) > 50
    for line in sorted(every):
        words = shlex.split(line.partition(" | ")[0])[1:]
        if len(words) == 1 or any(word.isupper() for word in words):
            first = " ".join(words[:2]) if words[0] in GROUPS else words[0]
            assert words[0].isupper() or first in {*TABLE, *ALIASES, *GROUPS, *OTHERS}, line
        else:
            understood(words)


def test_a_jump_host_is_written_as_the_page_shows(tmp_path: Path) -> None:
    page = ROOT / "docs/laptop.md"
    (line,) = (one for one in lines(page, "mnrun") if "ansible_ssh_common_args" in one)
    options = parse(shlex.split(line)[1:])
    asked = target(str(tmp_path / "site"), options.init_login, options.extra_vars)
    (shown,) = (text for text in blocks(page, "yaml") if "ansible_host" in text)
    assert asked.variables.items() >= yaml.safe_load(shown).items()


def test_the_examples_of_the_help_are_understood(capsys: pytest.CaptureFixture[str]) -> None:
    texts = [front_page(), *(epilog(name) for name in TABLE)]
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


def test_a_home_of_the_cluster_is_not_expanded_here() -> None:
    # A shell writes its own home in place of the ~ behind NAME=.
    texts = {name(page): page.read_text() for page in PAGES} | {"help": help_text()}
    bare = r"-e [a-z_]+=~"
    assert {
        page: re.findall(bare, text) for page, text in texts.items() if re.search(bare, text)
    } == {}


def test_every_page_has_a_place_in_the_site() -> None:
    """`make docs` refuses one that has none; this is sooner."""
    placed = set(re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").glob("**/*.md")}
    assert pages - placed == set()


PAIRS = [
    (ROOT / "README.md", ROOT / "README.ja.md"),
    *((ROOT / "docs" / page.name, page) for page in JAPANESE),
]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: name(pair[1]))
def test_a_japanese_page_has_the_sections_commands_and_values_of_the_english_one(
    pair: tuple[Path, Path],
) -> None:
    english, japanese = (
        [
            re.sub(r"(^|  +)#.*", "", line).strip()
            for text in blocks(page, r"\w+")
            for line in text.split("\n")
        ]
        for page in pair
    )
    assert english == japanese
    shape = re.compile(r"^ *(#+ |\||- |\d+\. )", re.MULTILINE)
    first, second = (shape.findall(without_blocks(page)) for page in pair)
    assert first == second, "headings, rows of tables, items of lists"


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: name(pair[1]))
def test_a_japanese_page_names_the_same_variables_files_and_messages(
    pair: tuple[Path, Path],
) -> None:
    english, japanese = (
        {" ".join(code.split()) for code in re.findall(r"`([^`]+)`", without_blocks(page))}
        for page in pair
    )
    assert english == japanese


def without_blocks(page: Path) -> str:
    """A page's text outside of its blocks."""
    return re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: name(pair[1]))
def test_a_japanese_page_leads_to_the_same_pages(pair: tuple[Path, Path]) -> None:
    """To a Japanese one where there is one."""
    english, japanese = ({one for one, _ in targets(page)} for page in pair)
    versions = {page.resolve(): translated.resolve() for page, translated in PAIRS}
    expected = {versions.get(page, page) for page in english - {pair[0].resolve()}}
    own = {pair[0].resolve(), pair[1].resolve()}
    assert {versions.get(page, page) for page in japanese} - own == expected - own
    assert japanese - own <= expected


def targets(page: Path) -> list[tuple[Path, str]]:
    """The files that a page's links lead to, with the anchor."""
    found = [target.partition("#") for target in LINK.findall(page.read_text())]
    return [
        ((page.parent / path).resolve() if path else page.resolve(), anchor)
        for path, _, anchor in found
        if "://" not in path
    ]


LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    return {slug(title) for title in re.findall(r"^#+ (.*)$", without_blocks(page), re.MULTILINE)}


LINKED = sorted({*PAGES, *ROOT.glob("*.md")})


@pytest.mark.parametrize("page", LINKED, ids=name)
def test_a_link_leads_somewhere(page: Path) -> None:
    for linked, anchor in targets(page):
        assert linked.exists(), linked
        assert not anchor or anchor in anchors(linked), f"{linked}#{anchor}"


def test_the_site_links_are_read() -> None:
    assert sum(len(targets(page)) for page in LINKED) > 200


VARIABLES = [(page, text) for page in PAGES for text in blocks(page, "ya?ml")]


@pytest.mark.parametrize("page", sorted({page for page, _ in VARIABLES}), ids=name)
def test_a_variable_that_is_shown_is_one(page: Path) -> None:
    for text in blocks(page, "ya?ml"):
        values = yaml.safe_load(text)
        names = (
            {one for one in values if OF_A_ROLE.match(one)} if isinstance(values, dict) else set()
        )
        assert names <= OPTIONS, f"{name(page)}: {names - OPTIONS}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in INTERNALS], ids=name)
def test_a_variable_in_the_text_is_one(page: Path) -> None:
    found = set(re.findall(r"`([a-z][a-z_0-9]+)`", without_blocks(page)))
    named = {one for one in found if OF_A_ROLE.match(one)}
    assert named - OPTIONS - KNOWN == set()


def test_a_playbook_that_is_shown_is_there() -> None:
    commands = [
        line
        for page in PAGES
        for line in re.findall(r"`(ansible-playbook [^`]+)`", page.read_text())
    ]
    commands += [line for _, line in PLAYBOOKS]
    assert len(commands) > 3
    for line in commands:
        options = PlaybookCLI(shlex.split(line, comments=True))
        options.parse()
        for playbook in context.CLIARGS["args"]:
            own = playbook.removeprefix("mnrun.train.")
            assert (ROOT / (f"playbooks/{own}.yml" if own != playbook else playbook)).is_file()
