"""docs/comparison.md: each cell about another tool has its source, or says that there is none."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = (Path(__file__).parents[3] / "docs/comparison.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| task |")
]
SOURCES = dict(re.findall(r"^\[([\w-]+)\]: (https://\S+)$", PAGE, re.MULTILINE))


def test_each_cell_has_its_source() -> None:
    assert len(ROWS) > 15
    for task, own, *others in ROWS:
        assert len(others) == 6, task
        assert re.search(r"\]\([\w./-]+\.md", own), f"{task}: mnrun"
        for cell in others:
            assert cell.startswith("not found") or re.search(r"\]\[[\w-]+\]", cell), (
                f"{task}: {cell}"
            )


def test_every_source_is_used_and_there() -> None:
    assert set(re.findall(r"\]\[([\w-]+)\]", PAGE)) == set(SOURCES)
