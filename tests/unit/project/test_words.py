"""What people read avoids the phrasings that docs/conventions.md lists."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[3]
CONVENTIONS = ROOT / "docs" / "conventions.md"
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob(".github/**/*.yml")]
CODE = [
    path
    for folder in ("mnrun", "plugins", "roles", "playbooks", "inventory", "bench", "docs")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".yml", ".j2")
]
EXCEPTIONS: dict[tuple[str, str], str] = {}
"""By file and phrase, lower case: why this phrase is right in this file."""


class Hit(NamedTuple):
    """A phrase to avoid, where it stands."""

    file: str
    line: int
    phrase: str
    better: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: “{self.phrase}”; better: {self.better}"


def table(marker: str) -> list[list[str]]:
    """The rows below a marker of the page, as cells."""
    text = CONVENTIONS.read_text().partition(f"<!-- {marker} -->")[2].partition("<!-- end -->")[0]
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[1:]]


AVOID = {phrase: better for phrases, better in table("avoid") for phrase in phrases.split(", ")}
BETTER = {phrase.lower(): better for phrase, better in AVOID.items()}
# A phrase may be wrapped, also in a comment. "There is none" is fine, and so is Python's None.
ANY = re.compile(
    r"(?<![Tt]here )\b(?!is None)(?:{})\b".format(
        "|".join(f"[{each[0].upper()}{each[0]}]{re.escape(each[1:])}" for each in AVOID)
    ).replace(r"\ ", r"[\s#]+")
)


def texts(path: Path) -> str:
    """What people read in a file: of a program its comments and strings, in their lines."""
    text = path.read_text()
    if path.suffix != ".py":
        return text
    lines = [""] * (text.count("\n") + 2)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            shown = (
                re.sub(r"\{[^{}]*\}", "", token.string) if "f" in token.string[:2] else token.string
            )
            for number, line in enumerate(shown.split("\n"), token.start[0]):
                lines[number] += f" {line}"
    return "\n".join(lines[1:])


def hits(name: str, text: str) -> Iterator[Hit]:
    """The phrases to avoid in a text, without those that have a reason."""
    for found in ANY.finditer(text):
        phrase = re.sub(r"[\s#]+", " ", found.group()).lower()
        if (name, phrase) not in EXCEPTIONS:
            yield Hit(name, text.count("\n", 0, found.start()) + 1, phrase, BETTER[phrase])


def test_phrases_are_found_wherever_they_stand() -> None:
    text = "Nobody is here.\n    # it was\n    # told so: it is\n    # none. There is none.\n"
    assert [(hit.line, hit.phrase) for hit in hits("x", text)] == [
        (1, "nobody"),
        (3, "told"),
        (3, "is none"),
    ]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page != CONVENTIONS], ids=lambda page: page.name
)
def test_a_page_avoids_them(page: Path) -> None:
    assert not [str(hit) for hit in hits(str(page.relative_to(ROOT)), page.read_text())]


@pytest.mark.parametrize("folder", sorted({path.relative_to(ROOT).parts[0] for path in CODE}))
def test_the_texts_in_the_code_avoid_them(folder: str) -> None:
    files = [path for path in CODE if path.relative_to(ROOT).parts[0] == folder]
    found = [hit for path in files for hit in hits(str(path.relative_to(ROOT)), texts(path))]
    assert not [str(hit) for hit in found]


def test_every_exception_is_needed() -> None:
    for name, phrase in EXCEPTIONS:
        assert phrase in (ROOT / name).read_text().lower(), (name, phrase)
