"""A YAML text with the line of each of its values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

Path = tuple[str | int, ...]


class NotYamlError(Exception):
    """A text that is not YAML: what is wrong, in which line."""

    def __init__(self, text: str, line: int) -> None:
        super().__init__(text)
        self.text, self.line = text, line


class Loaded(NamedTuple):
    """A document. `lines`: where each value is written, by the keys that lead to it."""

    value: Any
    lines: dict[Path, int]
    twice: list[tuple[int, str]]  # keys that stand twice in one mapping, of which YAML drops one

    def line_of(self, path: Path) -> int:
        """The line of a value, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def loaded(text: str) -> Loaded:
    """Read one document. Raises NotYamlError."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        lines: dict[Path, int] = {}
        twice: list[tuple[int, str]] = []
        for path, line, again in _walk(node, ()) if node else ():
            lines.setdefault(path, line)
            if again:
                twice.append((line, f"{'.'.join(map(str, path))} is written twice"))
        value = loader.construct_document(node) if node else {}
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error)
        raise NotYamlError(f"it is not YAML ({what})", mark.line + 1 if mark else 1) from None
    finally:
        loader.dispose()
    return Loaded(value, lines, twice)


def _walk(node: yaml.Node, path: Path) -> Iterator[tuple[Path, int, bool]]:
    yield path, node.start_mark.line + 1, False
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            yield (*path, name), key.start_mark.line + 1, name in seen and name != "<<"
            seen.add(name)
            yield from _walk(value, (*path, name))
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _walk(item, (*path, number))
