"""A YAML text with the line of each of its values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

Path = tuple[str | int, ...]
_MOST = 100_000  # values of a document, which a few lines of aliases can exceed without end


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
    # libyaml is ten times as fast; what is wrong with a text, PyYAML says better.
    try:
        return _loaded(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except NotYamlError:
        return _loaded(text, yaml.SafeLoader)


def _loaded(text: str, kind: Any) -> Loaded:
    loader = None
    try:
        loader = kind(text)
        node = loader.get_single_node()
        lines: dict[Path, int] = {}
        twice: list[tuple[int, str]] = []
        for count, (path, line, again) in enumerate(_walk(node, ()) if node else ()):
            if count > _MOST:
                raise NotYamlError(f"its aliases make more than {_MOST} values of it", 1)
            lines.setdefault(path, line)
            if again:
                twice.append((line, f"{'.'.join(map(str, path))} is written twice"))
        value = loader.construct_document(node) if node else {}
    except RecursionError:
        raise NotYamlError("it is nested too deeply, or an alias is inside of itself", 1) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise NotYamlError(f"the character {error.character:#x} is not text", line) from None
    except (yaml.YAMLError, ValueError, TypeError) as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error)
        raise NotYamlError(_about(what), mark.line + 1 if mark else 1) from None
    finally:
        if loader:
            loader.dispose()
    return Loaded(value, lines, twice)


def _about(what: str) -> str:
    """What is wrong, from the words of the YAML reader."""
    if "found another document" in what:
        return "a second document begins here, and only one is read"
    if "integer string conversion" in what:
        return "it has a number of thousands of digits"
    hint = ": indent with spaces, not tabs" if r"'\t'" in what else ""
    return f"it is not YAML ({what}{hint})"


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
