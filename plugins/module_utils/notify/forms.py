"""An event as services take it: the body of a request, and its headers. Pure."""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, Tuple

from .event import Event

Form = Callable[[Event], Tuple[bytes, Dict[str, str]]]

_LONGEST = 4000  # bytes of a text of ntfy, which makes a longer one an attachment


def _json(event: Event) -> tuple[bytes, dict[str, str]]:
    return _encoded(event._asdict())


def _slack(event: Event) -> tuple[bytes, dict[str, str]]:
    text = f"*{event.title}*\n{event.text}"
    for character, code in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(character, code)
    return _encoded({"text": text})


def _teams(event: Event) -> tuple[bytes, dict[str, str]]:
    """A message with an adaptive card, as Workflows take it."""
    title = {"type": "TextBlock", "text": event.title, "weight": "Bolder", "wrap": True}
    # One line break alone shows as a space there.
    text = {"type": "TextBlock", "text": event.text.replace("\n", "\n\n"), "wrap": True}
    card = {"type": "AdaptiveCard", "version": "1.4", "body": [title, text]}
    kind = "application/vnd.microsoft.card.adaptive"
    return _encoded({"type": "message", "attachments": [{"contentType": kind, "content": card}]})


def _ntfy(event: Event) -> tuple[bytes, dict[str, str]]:
    title = event.title.encode("ascii", "replace").decode()
    body = event.text.encode()[:_LONGEST].decode("utf-8", "ignore").encode()
    return body, {"Title": title, "Priority": "high" if event.bad else "default"}


def _encoded(value: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    return json.dumps(value).encode(), {"Content-Type": "application/json; charset=utf-8"}


FORMS: dict[str, Form] = {"slack": _slack, "teams": _teams, "ntfy": _ntfy, "json": _json}
