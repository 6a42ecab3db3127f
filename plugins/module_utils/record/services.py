"""Where the services of a job are, according to itself: services-<n>.json in its record's folder.

roles/sft/files/services.py writes it, when they start and whenever one of them is up.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ..base.files import parse_json
from ..base.presence import read_text
from .contract import Attempt


class ServiceAt(NamedTuple):
    """A service on one node."""

    name: str
    node: str
    address: str  # empty before it has started
    log: str
    up_seconds: float | None  # how long it took to answer; None if it has not yet


def read_services(folder: Path, attempt: Attempt) -> list[ServiceAt]:
    """The services of an attempt's job; none if it has none. Raises OSError."""
    data = parse_json(read_text(folder / f"services-{attempt.number}.json") or "")
    if not isinstance(data, dict) or data.get("token") != attempt.token:
        return []
    found = data.get("services")
    return [_read(one) for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _read(one: dict[str, object]) -> ServiceAt:
    name, node, address, log = (
        str(one.get(part) or "") for part in ("name", "node", "address", "log")
    )
    seconds = one.get("up_seconds")
    up_seconds = float(seconds) if isinstance(seconds, (int, float)) else None
    return ServiceAt(name, node, address, log, up_seconds)
