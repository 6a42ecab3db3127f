"""docs/troubleshooting.md and its translation quote what mnrun prints, and have all causes."""

from __future__ import annotations

import re
from pathlib import Path

from ansible_collections.mnrun.train.plugins.module_utils.stage.cause import Cause

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/troubleshooting.md").read_text()
SSH = {"Host key verification failed", "Permission denied"}


def quoted(heading: str) -> list[str]:
    """What the first column of a section's table quotes."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
    assert rows, heading
    return [text for row in rows for text in re.findall("`([^`]+)`", row)]


def source() -> str:
    """All programs and roles, with texts joined that go on in the next line."""
    files = [
        path
        for room in ("plugins", "roles", "mnrun", "playbooks")
        for path in (ROOT / room).rglob("*")
        if path.suffix in {".py", ".yml", ".j2", ".sh"}
    ]
    return re.sub(r'"\s*\n\s*f?"', "", "\n".join(path.read_text() for path in files))


def test_each_message_is_one_that_mnrun_prints() -> None:
    there = source()
    headings = ("Before anything is submitted", "Connections", "The Ray cluster", "Nothing is lost")
    told = [text for heading in headings for text in quoted(heading) if text not in SSH]
    assert [text for text in told if text not in there] == []


def test_it_has_every_cause() -> None:
    titles = [cause.title.replace("`", "") for cause in Cause]
    assert quoted("Why a job ended") == titles


def test_the_japanese_page_quotes_the_same() -> None:
    japanese = (ROOT / "docs/ja/troubleshooting.md").read_text()
    first = [
        re.findall(r"^\| ((?:`[^`]+`[^`|]*)+) \|", page, re.MULTILINE) for page in (PAGE, japanese)
    ]
    english, translated = ([re.findall("`([^`]+)`", cell) for cell in cells] for cells in first)
    assert english == translated
    assert len(english) > 50
