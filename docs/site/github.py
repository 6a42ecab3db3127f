"""GitHub's Markdown, written as Python-Markdown reads it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

_FENCE = re.compile(r"\s*```")
_ITEM = re.compile(r"( *)([-*]|\d+\.)( +)\S")
_CODE_WITH_BAR = re.compile(r"`([^`]*\\\|[^`]*)`")


def slug(title: str, separator: str = "-") -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w -]", "", re.sub(r"`|<[^>]*>", "", title).lower()).replace(" ", separator)


def for_python_markdown(markdown: str) -> str:
    """Return the text with what is inside of list items indented by four, and lists set apart."""
    return "\n".join(_lines(markdown.split("\n")))


def _lines(lines: list[str]) -> Iterator[str]:
    depth: list[int] = []  # where the text of each open list item begins
    fenced = False
    blank, apart = True, False  # the line before; whether a paragraph is before, not just an item
    for line in lines:
        item = None if fenced else _ITEM.match(line)
        if line.strip() and not fenced:
            indent = len(line) - len(line.lstrip(" "))
            depth = [begin for begin in depth if indent >= begin]
            if item and apart:
                yield ""
        begin = depth[-1] if depth else 0
        yield " " * 4 * len(depth) + _row(line[begin:]) if line.strip() else line
        apart = bool(line.strip()) and not item and (apart or blank or not depth)
        blank = not line.strip()
        if item:
            depth.append(len(item[1]) + len(item[2]) + len(item[3]))
        fenced ^= bool(_FENCE.match(line))


def _row(line: str) -> str:
    """Return a row of a table with bars in code as Python-Markdown takes them."""
    if not line.startswith("|"):
        return line
    return _CODE_WITH_BAR.sub(lambda found: _code(found[1].replace("\\|", "|")), line)


def _code(text: str) -> str:
    return f"<code>{html.escape(text).replace('|', '&#124;')}</code>"
