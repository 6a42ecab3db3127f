"""Modules run with the login node's Python, which may be 3.8. The linter checks the syntax."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[3] / "plugins"
FILES = sorted([*PLUGINS.glob("modules/*.py"), *PLUGINS.glob("module_utils/**/*.py")])
GENERICS = {"list", "dict", "tuple", "set", "frozenset", "type"}
LATER = {"removeprefix", "removesuffix", "is_relative_to", "hardlink_to", "cache"}


def evaluated(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but annotations, which `from __future__ import annotations` keeps as text."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield child
                yield from evaluated(child)


def too_new(source: str) -> list[str]:
    found = []
    for node in evaluated(ast.parse(source, feature_version=(3, 8))):
        match node:
            case ast.Subscript(value=ast.Name(id=name)) if name in GENERICS:
                found.append(f"line {node.lineno}: {name}[...] is evaluated")
            case ast.Attribute(attr=name) if name in LATER:
                found.append(f"line {node.lineno}: .{name}")
            case ast.Call(func=ast.Name(id="zip"), keywords=[_, *_]):
                found.append(f"line {node.lineno}: zip(strict=)")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PLUGINS)))
def test_nothing_is_newer_than_python_3_8(path: Path) -> None:
    source = path.read_text()
    assert "from __future__ import annotations" in source or len(source) < 200
    assert too_new(source) == []


def test_what_is_newer_is_found() -> None:
    source = (
        "A = list[int]\n'x'.removeprefix('y')\nzip(a, b, strict=True)\ndef f(x: list[int]): 1\n"
    )
    assert len(too_new(source)) == 3
