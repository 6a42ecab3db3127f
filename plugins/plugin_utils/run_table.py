"""What the tables of runs have in common."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Sequence

WIDTH = "MNRUN_WIDTH"
"""Set by `mnrun`: the columns of its terminal. In a pipe a run stays on one line, for `grep`."""

_EMPTY = ("", "-")
_TITLE = 2  # cells of a row that stay on its first line, where it does not fit


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Give the rows as lines, with each column as wide as its widest cell.

    The first row has the headings. If the terminal is too narrow, each row takes several lines.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    width = int(os.environ.get(WIDTH) or 0)
    if not width or max(map(len, lines)) <= width:
        return lines
    return [line for row in rows[1:] for line in _block(rows[0], row, width)]


def _block(head: Sequence[str], row: Sequence[str], width: int) -> Iterator[str]:
    """A row as a title and, below it, each other cell with its heading."""
    yield "  ".join(row[:_TITLE]).rstrip()
    indent = max(map(len, head[_TITLE:])) + 4
    for heading, cell in zip(head[_TITLE:], row[_TITLE:], strict=True):
        if cell not in _EMPTY:
            yield from textwrap.wrap(
                cell,
                max(width, indent + 20),
                initial_indent=f"  {heading.lower()}".ljust(indent),
                subsequent_indent=" " * indent,
                break_on_hyphens=False,
            )
