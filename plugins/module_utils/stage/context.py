"""A request with all that it takes to carry it out."""

from __future__ import annotations

from dataclasses import dataclass

from ..base.clock import Clock
from ..record.contract import Backend, Request
from ..record.ledger import Ledger


@dataclass(frozen=True)
class Stage:
    """A request with all that it takes to carry it out."""

    request: Request
    backend: Backend
    ledger: Ledger
    clock: Clock
