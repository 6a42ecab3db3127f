"""Why a job ended its own training, according to itself: stopped-<n>.json in its record's folder.

roles/sft/files/observer.py writes it before it ends the training, and its evidence beside it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from ..base.files import parse_json
from ..base.presence import names, read_text
from .contract import Attempt

_LONGEST = 500  # characters of a text


class Stopped(NamedTuple):
    """Why."""

    cause: str  # the cause's code
    text: str  # what was seen, in sentences
    where: str = ""  # the rank and the node, as far as the evidence tells
    evidence: tuple[str, ...] = ()  # names of files in the record's folder
    since: int = 0  # the first step that must not be resumed from; 0: any may
    again: bool = False  # it is to be retried with other options, which the job adds itself


def read_stopped(folder: Path, attempt: Attempt) -> Stopped | None:
    """Why the job of an attempt ended its training; None if it did not. Raises OSError."""
    data = parse_json(read_text(folder / f"stopped-{attempt.number}.json") or "")
    if not isinstance(data, dict) or data.get("token") != attempt.token:
        return None
    texts = [data.get(name) for name in ("cause", "text", "where")]
    if not all(isinstance(text, str) for text in texts):
        return None
    cause, text, where = (str(text)[:_LONGEST] for text in texts)
    own = re.compile(rf"stall-{attempt.number}-[\w.-]+\.json")
    since = data.get("since")
    return Stopped(
        cause,
        text,
        where,
        tuple(filter(own.fullmatch, names(folder))),
        since if type(since) is int and since > 0 else 0,
        data.get("again") is True,
    )
