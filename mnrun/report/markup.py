"""Tags of HTML and SVG. What is not known to be markup is escaped, wherever it came from."""

from __future__ import annotations

import html
import re

# What no text needs, and HTML does not have, or what turns the direction of what follows.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff"
    "\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f]"
)
LONGEST = 5000
"""Characters of one text."""


class Safe(str):
    """Markup: text that was escaped, and tags around it."""

    __slots__ = ()


def clean(text: object) -> str:
    """Return a text without control characters, as long as one can be."""
    whole = str(text)
    cut = whole if len(whole) <= LONGEST else f"{whole[:LONGEST]}…"
    return _CONTROL.sub("", cut.encode("utf-8", "replace").decode())


def escaped(text: object) -> Safe:
    """Return a text as markup that shows it; markup as it is."""
    return text if isinstance(text, Safe) else Safe(html.escape(clean(text)))


def joined(*parts: object) -> Safe:
    """Return parts side by side, each escaped unless it is markup."""
    return Safe("".join(map(escaped, parts)))


def tag(name: str, *children: object, **attributes: object) -> Safe:
    """Return an element. `class_` is the attribute class, `data_x` is data-x; None is left out."""
    named = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
    # viewBox alone has a capital letter, as SVG wants it.
    named = {"viewBox" if key == "viewbox" else key: value for key, value in named.items()}
    text = "".join(
        f' {key}="{escaped(value)}"' for key, value in named.items() if value is not None
    )
    return Safe(f"<{name}{text}>{joined(*children)}</{name}>")


def table(head: list[str], rows: list[list[object]], class_: str | None = None) -> Safe:
    """Return a table that scrolls by itself where it is wider than the page."""
    top = tag("thead", tag("tr", *(tag("th", cell) for cell in head)))
    body = tag("tbody", *(tag("tr", *(tag("td", cell) for cell in row)) for row in rows))
    return tag("div", tag("table", top, body), class_=" ".join(filter(None, ["wide", class_])))
