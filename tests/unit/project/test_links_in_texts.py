"""A user with the wheel alone has no folder docs/: what points there has the whole address."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from mnrun.commands import DOCS

ROOT = Path(__file__).parents[3]
PAGE = re.compile(r"(?<![\w/])docs/[\w-]+\.md")


def texts() -> Iterator[tuple[str, str]]:
    """Each text that a user may get, with the file that it is in: strings, templates, the sites."""
    for folder in ("mnrun", "plugins"):
        for path in (ROOT / folder).rglob("*.py"):
            yield from ((str(path), text) for text in _strings(ast.parse(path.read_text())))
    for path in [*ROOT.glob("mnrun/**/*.j2"), *ROOT.glob("inventory/**/*.yml")]:
        yield str(path), path.read_text()


def _strings(tree: ast.AST) -> Iterator[str]:
    """The strings of a program, but no docstrings."""
    docs = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docs:
            yield node.value


def test_no_text_names_a_page_that_the_wheel_lacks() -> None:
    assert [(file, found) for file, text in texts() for found in PAGE.findall(text)] == []


def test_each_address_leads_to_a_page() -> None:
    base = DOCS.removesuffix("docs")
    found = {name for _, text in texts() for name in re.findall(rf"{base}([\w./-]+\.md)", text)}
    assert len(found) > 3
    assert [name for name in found if not (ROOT / name).is_file()] == []
