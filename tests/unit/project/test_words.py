"""What people read avoids the phrasings that docs/conventions.md lists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[3]
CONVENTIONS = ROOT / "docs" / "conventions.md"
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob(".github/**/*.yml")]
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
# A phrase may be wrapped, also in a comment.
ANY = re.compile(
    r"\b(?:{})\b".format("|".join(re.escape(each).replace(r"\ ", r"[\s#]+") for each in AVOID)),
    re.IGNORECASE,
)


def hits(name: str, text: str) -> Iterator[Hit]:
    """The phrases to avoid in a text, without those that have a reason."""
    for found in ANY.finditer(text):
        phrase = re.sub(r"[\s#]+", " ", found.group()).lower()
        if (name, phrase) not in EXCEPTIONS:
            yield Hit(name, text.count("\n", 0, found.start()) + 1, phrase, AVOID[phrase])


def test_phrases_are_found_wherever_they_stand() -> None:
    text = "Nobody is here.\n    # it was\n    # told so: there is\n    # none, untold\n"
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


def test_every_exception_is_needed() -> None:
    for name, phrase in EXCEPTIONS:
        assert phrase in (ROOT / name).read_text().lower(), (name, phrase)
