"""Which data sources the trainer scores by itself, read from its own source."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Iterator, NamedTuple

_FILE = "utils/reward_score/__init__.py"
_FUNCTION = "default_compute_score"


class Scored(NamedTuple):
    """Data sources with a reward function, by name and by start."""

    names: frozenset[str]
    starts: tuple[str, ...]

    def knows(self, source: str) -> bool:
        """Whether there is a function for this data source."""
        return source in self.names or source.startswith(self.starts)


def scored(source: Path) -> Scored | None:
    """What the trainer in the folder `source` scores; None if that cannot be read."""
    try:
        tree = ast.parse((source / _FILE).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return None
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    found = next((node for node in functions if node.name == _FUNCTION), None)
    if found is None:
        return None
    names, starts = frozenset(_compared(found)), tuple(_starts(found))
    return Scored(names, starts) if names else None


def _compared(function: ast.AST) -> Iterator[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.Compare) and getattr(node.left, "id", "") == "data_source":
            for each in node.comparators:
                yield from _texts(each)


def _starts(function: ast.AST) -> Iterator[str]:
    for node in ast.walk(function):
        if (
            isinstance(node, ast.Call)
            and getattr(node.func, "attr", "") == "startswith"
            and getattr(getattr(node.func, "value", None), "id", "") == "data_source"
        ):
            for each in node.args:
                yield from _texts(each)


def _texts(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value
